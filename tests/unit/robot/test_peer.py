"""Two peers in one process, wired in memory, with real media between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from secureconnect.clock import SystemClock
from secureconnect.ids import SessionId
from secureconnect.robot.meters import AUDIBLE
from secureconnect.robot.peer import Peer, PeerSetting
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep, DelayedSound
from secureconnect.robot.sources import Outgoing
from secureconnect.robot.wire import Description, IceCandidate

pytestmark = [pytest.mark.anyio, pytest.mark.media, pytest.mark.timeout(60)]

ADA, LINUS = SessionId(UUID(int=1)), SessionId(UUID(int=2))


class Hurried(SystemClock):
    """Waits for nothing: what a peer does after being patient, it does now."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def pattern() -> Outgoing:
    return Outgoing((Beep(440, SystemClock()), PictureTrack(Picture("T", 64, 32), SystemClock())))


def mirror() -> Outgoing:
    voice = DelayedSound(SystemClock())
    return Outgoing((voice,), voice.hear)


class Pair:
    """Ada (the smaller id: polite) and Linus. What they send is kept in `sent` and delivered, unless `hold` is set."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.hold = False
        self._names = count(1)
        self.peers: dict[SessionId, Peer] = {}

    def make(self, own: SessionId, source: Callable[[], Outgoing] = pattern) -> Peer:
        async def send(type: str, **fields: object) -> None:
            frame = {"type": type, "from": own, **fields}
            self.sent.append(frame)
            if not self.hold:
                self.deliver(frame)

        setting = PeerSetting(
            own=own,
            call_type="video",
            source=source,
            ice_servers=[],
            send=send,
            connection_id=lambda: f"{own.int}-{next(self._names)}",
            random=lambda: 0.0,
            clock=Hurried(),
        )
        self.peers[own] = Peer(LINUS if own == ADA else ADA, setting)
        return self.peers[own]

    def deliver(self, frame: dict[str, Any]) -> None:
        peer = self.peers[frame["target_id"]]
        peer.receive(
            Description(type=frame["type"], seq=1, session_id=frame["from"], sdp=frame["sdp"], connection_id=frame["connection_id"])
        )


@asynccontextmanager
async def a_pair(**sources: Callable[[], Outgoing]) -> AsyncIterator[Pair]:
    pair = Pair()
    pair.make(ADA, sources.get("ada", pattern))
    pair.make(LINUS, sources.get("linus", pattern))
    try:
        yield pair
    finally:
        for peer in pair.peers.values():
            await peer.close()


async def until(met: Callable[[], bool]) -> None:
    """Return when `met`; the test's own timeout is the deadline."""
    while not met():  # noqa: ASYNC110 - media tells nobody that it arrived
        await asyncio.sleep(0.02)


def heard_and_saw(peer: Peer) -> bool:
    return peer.video.frames >= 3 and peer.audio.audible_seconds > 0.1


async def both(pair: Pair) -> None:
    await until(lambda: all(heard_and_saw(peer) for peer in pair.peers.values()))


async def test_the_offered_connection_carries_picture_and_sound_both_ways() -> None:
    async with a_pair() as pair:
        pair.peers[ADA].offer()
        await both(pair)
        assert [frame["type"] for frame in pair.sent] == ["offer", "answer"]
        assert (pair.peers[ADA].video.width, pair.peers[ADA].video.height) == (64, 32)
        statistics = await pair.peers[ADA].statistics()
        assert statistics.state == "connected"
        assert statistics.packets_received > 0
        assert statistics.bytes_sent > 0


async def test_when_both_offer_the_impolite_one_is_answered() -> None:
    async with a_pair() as pair:
        pair.hold = True
        pair.peers[ADA].offer()
        pair.peers[LINUS].offer()
        await until(lambda: len(pair.sent) == 2)
        pair.hold = False
        for frame in list(pair.sent):
            pair.deliver(frame)
        await both(pair)
        assert {frame["type"] for frame in pair.sent if frame["from"] == LINUS} == {"offer"}
        assert "answer" in {frame["type"] for frame in pair.sent if frame["from"] == ADA}
        assert len({frame["connection_id"] for frame in pair.sent}) == 2


async def test_an_offer_that_was_lost_with_the_servers_log_does_not_lock_both() -> None:
    async with a_pair() as pair:
        pair.hold = True
        pair.peers[LINUS].offer()
        await until(lambda: len(pair.sent) == 1)
        pair.hold = False  # Ada came back after the offer and was given a snapshot instead of it.
        pair.peers[ADA].offer()
        await both(pair)


async def test_an_offer_of_a_new_connection_replaces_the_old_one() -> None:
    async with a_pair() as pair:
        pair.peers[ADA].offer()
        await both(pair)
        old = pair.peers[ADA]
        reloaded = pair.make(ADA)
        try:
            seen = pair.peers[LINUS].video.frames
            reloaded.offer()
            await until(lambda: heard_and_saw(reloaded) and pair.peers[LINUS].video.frames > seen + 3)
        finally:
            await old.close()
        answers = [frame["connection_id"] for frame in pair.sent if frame["type"] == "answer"]
        assert len(set(answers)) == 2


async def test_candidates_that_come_before_the_description_are_held() -> None:
    async with a_pair() as pair:
        pair.hold = True
        pair.peers[LINUS].offer()
        await until(lambda: len(pair.sent) == 1)
        offer = pair.sent[0]
        lines = offer["sdp"].splitlines()
        candidates = [line.removeprefix("a=") for line in lines if line.startswith("a=candidate")]
        bare = "".join(f"{line}\r\n" for line in lines if not line.startswith(("a=candidate", "a=end-of-candidates")))
        for candidate in candidates:
            made = {"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}
            pair.peers[ADA].receive(IceCandidate(seq=1, session_id=LINUS, candidate=made, connection_id=offer["connection_id"]))
        pair.hold = False
        pair.deliver({**offer, "sdp": bare})
        await both(pair)


async def test_a_failed_connection_begins_anew_under_a_new_name() -> None:
    async with a_pair() as pair:
        pair.peers[ADA].offer()
        await both(pair)
        linus = pair.peers[LINUS]
        broken = linus._connection
        # What consent checks find after half a minute (RFC 7675), now.
        await broken.getTransceivers()[0].receiver.transport.transport._connection.close()
        seen = pair.peers[ADA].video.frames
        await until(lambda: linus._connection is not broken and pair.peers[ADA].video.frames > seen + 3)
        assert [frame["type"] for frame in pair.sent] == ["offer", "answer", "offer", "answer"]
        assert len({frame["connection_id"] for frame in pair.sent}) == 4


async def test_an_echo_says_what_it_hears() -> None:
    async with a_pair(linus=mirror) as pair:
        pair.peers[ADA].offer()
        await until(lambda: pair.peers[ADA].audio.audible_seconds > 0.1)
        await until(lambda: pair.peers[ADA].audio.level < AUDIBLE)


async def test_a_description_that_is_nonsense_leaves_the_peer_working() -> None:
    async with a_pair() as pair:
        nonsense = {"type": "offer", "from": LINUS, "target_id": ADA, "sdp": "v=0\r\nm=audio", "connection_id": "x"}
        pair.deliver(nonsense)
        pair.peers[LINUS].offer()
        await both(pair)
