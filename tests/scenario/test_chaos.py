"""Every disturbance of the chaos once, on one cluster with a small crowd: nothing is lost, and nobody is thrown out.

`make chaos` is the long form: many times each, with 300 calls, and as long as they last in earnest.
"""

from pathlib import Path

import pytest

from tests.chaos.conductor import shake, shaken
from tests.chaos.disturbances import ALL
from tests.chaos.results import Round
from tests.cluster import Stores

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

PACE = 0.1
SINGLE = [disturbance for disturbance in ALL if disturbance.stores == "single"]


@pytest.mark.parametrize("stores", ["pair", "sentinel", "sqlite"])
async def test_nothing_is_lost_when_a_store_refuses_or_is_switched_over(tmp_path: Path, stores: Stores) -> None:
    rounds: list[Round] = []
    chosen = [disturbance for disturbance in ALL if disturbance.stores == stores]
    async with shaken(tmp_path, calls=8, callers=1, pause=0.2, patience=60.0, stores=stores) as (cluster, crowd):
        await shake(cluster, crowd, chosen, pace=PACE, done=rounds.append)
    assert [round_ for round_ in rounds if not round_.is_clean] == []
    assert [round_.disturbance for round_ in rounds] == [disturbance.name for disturbance in chosen]
    assert all(round_.said > 0 for round_ in rounds)


async def test_nothing_is_lost_whatever_happens(tmp_path: Path) -> None:
    rounds: list[Round] = []
    async with shaken(tmp_path, calls=8, callers=1, pause=0.2, patience=60.0, DRAIN_SECONDS="0.5") as (cluster, crowd):
        await shake(cluster, crowd, SINGLE, pace=PACE, done=rounds.append)
    assert [one for one in rounds if not one.is_clean] == []
    assert [one.disturbance for one in rounds] == [one.name for one in SINGLE]
    assert all(one.said > 0 for one in rounds)
    assert sum(one.broken for one in rounds) > 0
    forgetful = {one.name for one in ALL if one.forgets}
    assert [one for one in rounds if one.disturbance not in forgetful and one.resumed < one.broken] == []
