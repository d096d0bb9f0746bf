"""How many bytes of events one user may cause."""

from uuid import UUID

import pytest

from secureconnect.chat.fan_out import BURST_BYTES, BYTES_PER_SECOND, EVENT_BYTES, USERS_KEPT, FanOut
from secureconnect.errors import RateLimited
from secureconnect.ids import UserId
from tests.fakes.clock import ManualClock
from tests.unit.chat.conftest import Office

ANN, BEN = UserId(UUID(int=1)), UserId(UUID(int=2))
LARGE = 8000


def test_a_burst_is_refused_and_forgiven_in_time() -> None:
    clock, refused = ManualClock(), []
    fan_out = FanOut(clock, on_refusal=lambda: refused.append(1))
    size = 256 * (LARGE + EVENT_BYTES)
    for _ in range(BURST_BYTES // size):
        fan_out.spend(ANN, 256, LARGE)
    with pytest.raises(RateLimited) as refusal:
        fan_out.spend(ANN, 256, LARGE)
    assert refused == [1]
    fan_out.spend(BEN, 256, LARGE)
    clock.advance((refusal.value.retry_after or 0) + 1)
    fan_out.spend(ANN, 256, LARGE)


def test_one_event_alone_always_passes() -> None:
    fan_out = FanOut(ManualClock())
    fan_out.spend(ANN, 256, 8 * LARGE)
    with pytest.raises(RateLimited):
        fan_out.spend(ANN, 2, 1)


def test_two_people_who_write_fast_are_never_refused() -> None:
    clock = ManualClock()
    fan_out = FanOut(clock)
    for _ in range(5_000):
        fan_out.spend(ANN, 2, 300)
        clock.advance(2 * 812 / BYTES_PER_SECOND)


def test_few_users_are_remembered() -> None:
    fan_out = FanOut(ManualClock())
    for number in range(USERS_KEPT + 100):
        fan_out.spend(UserId(UUID(int=number + 10)), 1, 1)
    assert len(fan_out._spent) == USERS_KEPT


def test_what_was_refused_is_refused_at_once_for_a_while_and_there_alone() -> None:
    clock = ManualClock()
    fan_out = FanOut(clock)
    here, elsewhere = UUID(int=7), UUID(int=8)
    fan_out.spend(ANN, 256, 8 * LARGE, here)
    fan_out.check(ANN, here)
    with pytest.raises(RateLimited) as refusal:
        fan_out.spend(ANN, 256, LARGE, here)
    with pytest.raises(RateLimited):
        fan_out.check(ANN, here)
    fan_out.check(ANN, elsewhere)
    fan_out.check(BEN, here)
    clock.advance(refusal.value.retry_after or 0)
    fan_out.check(ANN, here)
    fan_out.spend(ANN, 256, LARGE, here)


@pytest.mark.anyio
async def test_a_message_that_is_refused_is_not_written(office: Office) -> None:
    made = await office.chat.create(office.ada, [office.grace])
    office.clock.advance(60)
    office.chat._fan_out.spend(office.ada, 1, BURST_BYTES)
    with pytest.raises(RateLimited):
        await office.chat.send(office.ada, made.conversation_id, "hello")
    assert await office.contents(office.ada, made.conversation_id) == []
    office.clock.advance(3600)
    await office.say(office.ada, made.conversation_id, "hello")
