"""The short form of `make attackers`: each attack for three seconds beside three calls, in memory and with Redis."""

from collections.abc import AsyncIterator

import pytest

from tests.attackers.attacks import ATTACKS, Attack
from tests.attackers.stage import Stage, stage
from tests.attackers.strangers import STRANGERS

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["memory", "redis"])
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with stage(calls=3, redis=request.param == "redis") as here:
        yield here


@pytest.mark.parametrize("attack", [*ATTACKS, *STRANGERS], ids=lambda attack: attack.__name__)
async def test_an_attack_fills_no_memory_and_costs_others_nothing(here: Stage, attack: Attack) -> None:
    result = await here.play(attack, seconds=3.0, calm_seconds=1.5)
    # Latencies of a few seconds on a shared machine say little: `make attackers` looks at them.
    assert result.faults(check_latencies=False) == []
