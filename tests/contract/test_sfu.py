"""What calls rely on at an SFU, held against the real Janus: seats, media, what goes wrong, who takes over. Peers are aiortc's."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from secureconnect.clock import SystemClock
from secureconnect.config import load_settings
from secureconnect.doctor.finding import Verdict
from secureconnect.doctor.sfu import sfu
from secureconnect.media import BadDescription, Feed, Handles, Member, Room, Seat, SfuLost, Stream, Track
from secureconnect.media.janus import UNAUTHORIZED, JanusError, JanusLost, open_janus
from secureconnect.media.janus_bundle import find_bundle
from secureconnect.media.janus_server import JanusOptions, configuration
from secureconnect.media.pool import JanusPool, SfuServer
from secureconnect.signaling.sfu_frames import Source
from tests.fakes.janus import ADDRESS, SECRET, JanusServer, Listener, Speaker, running_janus

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20.0
TRACKS = (Track("0", Source.MICROPHONE), Track("1", Source.CAMERA))


async def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return when it holds. What happens in another process can only be asked for."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for: {what}") from None


class Ear:
    """What is told of a seat."""

    def __init__(self) -> None:
        self.offers: list[Sequence[Stream]] = []
        self.unanswered: asyncio.Queue[str] = asyncio.Queue()
        self.heard: list[str] = []

    def offered(self, sdp: str, streams: Sequence[Stream]) -> None:
        self.offers.append(streams)
        self.unanswered.put_nowait(sdp)

    def published(self) -> None:
        self.heard.append("published")

    def unpublished(self) -> None:
        self.heard.append("unpublished")

    def stopped_receiving(self) -> None:
        self.heard.append("stopped receiving")

    def talking(self, is_talking: bool) -> None:
        self.heard.append("talking" if is_talking else "quiet")

    def lost(self) -> None:
        self.heard.append("lost")


class Someone:
    """A session at the SFU, with what it hears of its seat and the peers that carry its media."""

    def __init__(self, name: str, seat: Seat, ear: Ear) -> None:
        self.name, self.seat, self.ear = name, seat, ear
        self.speaker = Speaker()
        self.listener = Listener()
        self._answering = asyncio.create_task(self._answer(ear))

    def feeds(self, revision: str = "first") -> set[Feed]:
        return {Feed(self.name, track.mid, revision) for track in TRACKS}

    async def publish(self, *, anew: bool = False) -> None:
        before = self.ear.heard.count("published")
        await self.speaker.take(await self.seat.publish(await self.speaker.offer(), TRACKS, anew=anew))
        await until(lambda: self.ear.heard.count("published") > before, f"{self.name} to be heard by the SFU")

    async def want(self, *feeds: Feed) -> Sequence[Stream]:
        """Ask for these; the last offer that comes of it."""
        before = len(self.ear.offers)
        await self.seat.want(frozenset(feeds))
        await until(lambda: len(self.ear.offers) > before, f"an offer to {self.name}")
        return self.ear.offers[-1]

    def heed(self, ear: Ear) -> None:
        """Answer what is offered there from now on."""
        self._answering.cancel()
        self.ear = ear
        self._answering = asyncio.create_task(self._answer(ear))

    async def _answer(self, ear: Ear) -> None:
        while True:
            await self.seat.answer(await self.listener.answer(await ear.unanswered.get()))

    async def sees(self, count: int = 10) -> None:
        """Frames and sound go on from now."""
        frames, seconds = self.listener.frames(), self.listener.seconds()
        await until(lambda: self.listener.frames() >= frames + count and self.listener.seconds() > seconds, f"{self.name} to see")

    async def close(self) -> None:
        self._answering.cancel()
        await asyncio.gather(self._answering, return_exceptions=True)
        await asyncio.gather(self.speaker.close(), self.listener.close())


class Place:
    """A Janus, a pool that knows it, and one room."""

    def __init__(self, janus: JanusServer, pool: JanusPool) -> None:
        self.janus, self.pool = janus, pool
        self.room = Room(janus.server.name, "a call.1", 8)
        self.people: list[Someone] = []

    async def seat(self, name: str) -> Someone:
        ear = Ear()
        someone = Someone(name, await self.pool.open(self.room, Member(name, f"user of {name}"), ear), ear)
        self.people.append(someone)
        return someone


@asynccontextmanager
async def running_pool(*servers: SfuServer, allow_version: str | None = None) -> AsyncIterator[JanusPool]:
    key = b"what nodes share"
    pool = JanusPool(servers, SystemClock(), key_of=lambda _name: key, bitrate=1_000_000, allow_version=allow_version)
    task = asyncio.create_task(pool.run())
    await until(lambda: all(pool.is_usable(server.name) for server in servers), "the SFU to answer")
    try:
        yield pool
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with running_janus() as janus, running_pool(janus.server) as pool:
        place = Place(janus, pool)
        yield place
        await asyncio.gather(*(someone.close() for someone in place.people))


async def test_it_runs_alone_with_one_plugin_behind_a_secret_on_a_socket(place: Place) -> None:
    clock, url = SystemClock(), place.janus.server.url
    with pytest.raises(JanusError) as refused:
        await open_janus(url, "another secret", clock)
    assert refused.value.code == UNAUTHORIZED
    with pytest.raises(JanusLost):
        await open_janus(url.replace("api.sock", "no.sock"), SECRET, clock)
    check_what_runs(place.janus.pid)


def check_what_runs(pid: int) -> None:
    bundle = find_bundle()
    assert bundle is not None, "run tests/engines"
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    folder = Path(command[command.index("-F") + 1])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.jcfg")} == {0o600}
    maps = Path(f"/proc/{pid}/maps").read_text()
    loaded = {line.rpartition("/")[2] for line in maps.splitlines() if ".so" in line}
    assert {name for name in loaded if name.startswith("libjanus_")} == {"libjanus_videoroom.so", "libjanus_websockets.so"}
    strange = [line for line in maps.splitlines() if ".so" in line and str(bundle.folder.resolve()) not in line]
    assert not strange, "each library is one that it was built for"
    assert Path(f"/proc/{pid}/comm").read_text() == "janus\n"
    if os.geteuid() == 0:
        assert Path(f"/proc/{pid}").stat().st_uid == 65534


def test_the_configuration_we_ship_is_the_one_we_run() -> None:
    options = JanusOptions(
        "10.0.0.20", "REPLACE-WITH-THE-secret-OF-sfu_servers", Path("/etc/secureconnect-janus"), external_ip="203.0.113.20"
    )
    files = configuration(options, host="10.0.0.20")
    folder = ROOT / "deploy/janus"
    assert {file.name: file.read_bytes().partition(b"\n")[2] for file in folder.glob("*.jcfg")} == files


async def test_two_hear_and_see_each_other_and_one_goes(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await bob.publish()
    streams = await bob.want(*ann.feeds())
    await ann.want(*bob.feeds())
    assert [(one.session_id, one.user_id, one.source, one.active) for one in streams] == [
        ("ann", "user of ann", Source.MICROPHONE, True),
        ("ann", "user of ann", Source.CAMERA, True),
    ]
    await asyncio.gather(ann.sees(), bob.sees())
    before = len(bob.ear.offers)
    await ann.seat.leave()
    await until(lambda: len(bob.ear.offers) > before, "Bob to be offered a call without Ann")
    assert not any(stream.active for stream in bob.ear.offers[-1])
    assert "lost" not in ann.ear.heard


async def test_candidates_of_the_answer_are_the_address_that_was_asked_for(place: Place) -> None:
    ann = await place.seat("ann")
    answer = await ann.seat.publish(await ann.speaker.offer(), TRACKS, anew=False)
    candidates = {line.split()[4] for line in answer.splitlines() if line.startswith("a=candidate:")}
    assert candidates == {ADDRESS}


async def test_who_comes_with_another_connection_is_heard_again_by_those_who_ask_for_it(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await bob.want(*ann.feeds())
    await bob.sees()
    old, ann.speaker = ann.speaker, Speaker()
    await ann.publish(anew=True)
    await bob.want(*ann.feeds("second"))
    await bob.sees()
    await old.close()


async def test_another_node_takes_a_seat_over_and_media_goes_on(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await bob.want(*ann.feeds())
    await bob.sees()
    async with running_pool(place.janus.server) as other:
        ear = Ear()
        who = Member("bob", "user of bob")
        bob.seat = await other.claim(place.room, who, bob.seat.handles, frozenset(ann.feeds()), ear)
        frames, offers = bob.listener.frames(), len(bob.ear.offers)
        await bob.sees()
        assert bob.listener.frames() > frames
        assert not ear.offers, "nothing is negotiated again"
        assert len(bob.ear.offers) == offers
        assert bob.listener.connection.signalingState == "stable"
        # Its verbs work from there, and what happens is told there.
        bob.heed(ear)
        await ann.seat.leave()
        await until(lambda: len(ear.offers) == 1, "the offer that no longer has Ann")


async def test_a_seat_that_is_gone_cannot_be_taken_over_and_its_name_is_free(place: Place) -> None:
    ann = await place.seat("ann")
    with pytest.raises(SfuLost):
        await place.pool.claim(place.room, Member("ann", "a"), Handles(1, 2, None, is_publishing=False), frozenset(), Ear())
    # The session is still there when its node could not say goodbye; whoever comes back anew puts it out.
    again = await place.seat("ann")
    await again.publish()
    await until(lambda: ann.seat is not again.seat and "published" in again.ear.heard, "the second to publish")


async def test_one_that_is_gone_keeps_nobody_from_the_others(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await bob.want(Feed("nobody", "0", "x"), *ann.feeds())
    await bob.sees()


async def test_what_is_no_description_is_refused_and_the_seat_stays(place: Place) -> None:
    ann = await place.seat("ann")
    with pytest.raises(BadDescription):
        await ann.seat.publish("v=0\r\nnothing of the kind", TRACKS, anew=False)
    with pytest.raises(BadDescription):
        await ann.seat.answer("v=0")
    await ann.publish()


async def test_who_is_silenced_is_not_forwarded_until_it_is_taken_back(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await bob.want(*ann.feeds())
    await bob.sees()
    await ann.seat.silence("1", silent=True)
    frames = -1
    while frames != bob.listener.frames():
        frames = bob.listener.frames()
        await asyncio.sleep(0.3)  # four frames' time: what is on its way has come
    await ann.seat.silence("1", silent=False)
    await bob.sees()


async def test_a_janus_that_is_killed_is_known_at_once_and_one_that_hangs_within_seconds(place: Place) -> None:
    changes: list[bool] = []
    place.pool.watch(lambda name: changes.append(place.pool.is_usable(name)))
    ann = await place.seat("ann")
    changes.clear()
    os.kill(place.janus.pid, signal.SIGKILL)
    await until(lambda: "lost" in ann.ear.heard, "the seat to be lost", seconds=2.0)
    assert changes == [False]
    assert place.pool.place() is None
    with pytest.raises(SfuLost):
        await place.seat("bob")
    await place.janus.stop()
    await place.janus.start()
    await until(lambda: changes == [False, True], "the pool to find it again")
    bob = await place.seat("bob")
    os.kill(place.janus.pid, signal.SIGSTOP)
    try:
        await until(lambda: "lost" in bob.ear.heard, "the seat at the one that hangs to be lost", seconds=10.0)
    finally:
        os.kill(place.janus.pid, signal.SIGCONT)


async def test_places_go_to_the_one_with_the_most_room(place: Place) -> None:
    async with running_janus("two") as other, running_pool(place.janus.server, other.server) as pool:
        first = pool.place()
        assert first is not None
        pool.placed(first)
        second = pool.place()
        assert {first, second} == {"one", "two"}


async def test_the_doctor_names_what_is_wrong_with_each(place: Place, tmp_path: Path) -> None:
    servers = [
        {"name": "well", "url": place.janus.server.url, "secret": SECRET},
        {"name": "stranger", "url": place.janus.server.url, "secret": "another"},
        {"name": "away", "url": "ws://127.0.0.1:9", "secret": SECRET},
    ]
    well, stranger, away = await sfu(load_settings(data_dir=tmp_path, sfu_servers=servers))
    assert well.verdict is Verdict.OK
    assert ADDRESS in well.detail
    assert "1.4.1" in well.detail
    assert (stranger.verdict, away.verdict) == (Verdict.FAILED, Verdict.FAILED)
    assert "api_secret" in stranger.advice
    assert "ws://127.0.0.1:9" in away.detail
