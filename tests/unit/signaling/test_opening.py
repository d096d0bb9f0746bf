"""A socket that is opened and not waited for, two that open at once, and what was said while others were out of reach."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import msgspec
import pytest

from secureconnect.bus import Entry, memory
from secureconnect.calls.call import Session
from secureconnect.ids import DeviceId
from secureconnect.signaling.call_room import CallRoom, Seat
from secureconnect.signaling.relay_timer import RelayTimer
from tests.unit.signaling.world import ANN, BOB, CALL, NODE, TOPIC, Client, World, comparable

PHONE, LAPTOP = DeviceId(UUID(int=0xD0)), DeviceId(UUID(int=0xD1))


@pytest.fixture
def world() -> Iterator[World]:
    world = World(ANN, BOB)
    world.calls.join(BOB, LAPTOP)
    yield world
    world.close()


def test_who_is_given_up_while_the_session_opens_leaves_no_open_session(world: World) -> None:
    open_session = world.calls.open_session
    committed, answered = asyncio.Event(), asyncio.Event()

    async def slowly(*request: object) -> object:
        opened = await open_session(*request)  # type: ignore[arg-type]
        committed.set()
        await answered.wait()
        return opened

    world.calls.open_session = slowly  # type: ignore[assignment,method-assign]

    async def give_up() -> None:
        admitting = asyncio.ensure_future(world.sockets.admit(world.grant(BOB), {"call_id": str(CALL)}))
        await committed.wait()
        admitting.cancel()
        await asyncio.gather(admitting, return_exceptions=True)
        assert admitting.cancelled()
        answered.set()

    world.run(give_up())
    world.run_spawned()
    bob = world.calls.call.participant(BOB)
    assert bob is not None
    assert not bob.connected


def test_what_is_said_to_a_session_before_its_log_is_read_is_heard(world: World) -> None:
    """Others know of a session once it is written down. What they say then is acknowledged, so the session must hear it."""
    ann, bob = Client(world, ANN, PHONE), Client(world, BOB, LAPTOP)
    ann.connect()
    world.bus.before_read = [lambda: ann.say(type="offer", sdp="v=1", target_id=str(BOB), ref="1")]
    bob.connect()
    bob.say(type="reaction")
    ann.say(type="offer", sdp="v=2", target_id=str(BOB), ref="2")
    assert bob.link is not None
    offers = [frame for frame in map(msgspec.json.decode, bob.link.unread) if frame["type"] == "offer"]
    assert [frame["sdp"] for frame in offers] == ["v=1", "v=2"]
    bob.read()
    assert comparable(bob.snapshot) == world.fresh_snapshot()


def test_a_session_whose_log_is_gone_hears_what_was_said_since_it_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing older: its welcome tells it to begin anew."""
    monkeypatch.setattr(memory, "LOG_ENTRIES", 3)
    ann, bob = Client(world, ANN, PHONE), Client(world, BOB, LAPTOP)
    ann.connect()
    bob.connect()
    bob.read()
    bob.lose()
    for number in range(5):
        ann.say(type="offer", sdp=f"old {number}", target_id=str(BOB))
    world.bus.before_read = [lambda: ann.say(type="offer", sdp="new", target_id=str(BOB))]
    link = bob.connect()
    frames = [msgspec.json.decode(frame) for frame in link.unread]
    assert (frames[0]["type"], frames[0]["resumed"]) == ("welcome", False)
    assert [frame["sdp"] for frame in frames if frame["type"] == "offer"] == ["new"]


def test_of_two_sockets_of_a_session_the_one_that_opened_last_stays(world: World) -> None:
    room = CallRoom(TOPIC, RelayTimer(lambda: 0.0, lambda seconds: None), world.at_sfu, lambda _grant: False)
    earlier, later = (Seat(TOPIC, CALL, world.grant(BOB), Session(UUID(int=1), LAPTOP, NODE, number), 0.0) for number in (2, 3))  # type: ignore[arg-type]
    room.take(later)
    room.take(earlier)
    assert (earlier.gone, later.gone) == (True, False)
    assert room.seats[later.session_id] is later


def test_what_could_not_be_said_was_not_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = Client(world, BOB, LAPTOP)
    bob.connect()
    bob.read()
    with monkeypatch.context() as patch:
        patch.setattr(world.sockets.handlers, "_publish", lambda *_, **__: False)
        bob.say(type="mute_audio", muted=True)
    bob.read()
    assert [one.code for one in bob.refusals] == ["unavailable"]
    bob.say(type="raise_hand")
    retained = world.run(world.bus.read(TOPIC)).retained
    state = msgspec.json.decode(retained[str(bob.session_id)])
    assert (state["audio_muted"], state["hand_raised"]) == (False, True)


def test_what_a_welcome_has_told_is_not_told_again_when_the_bus_is_late(world: World) -> None:
    """Between nodes a log is read faster than it is heard."""
    bob = Client(world, BOB, LAPTOP)
    bob.knock()
    room = world.run(world.sockets.hub.enter(TOPIC))
    head = world.run(world.bus.read(TOPIC)).head
    link = bob.enter()
    before = len(link.unread)
    room.deliver(Entry(head, "somebody", "", b'{"type":"reaction"}'))
    assert len(link.unread) == before
    room.deliver(Entry(head + 1, "somebody", "", b'{"type":"reaction"}'))
    assert len(link.unread) == before + 1
