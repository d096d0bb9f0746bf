"""Group calls: what Janus costs a forwarded packet under SecureConnect and driven bare, and how soon one who joins is seen.

    tests/namespace .venv/bin/python -m bench.group                 # two minutes; writes bench/results/<date>-group.md and .json

Peers are aiortc's, with real ICE, DTLS, SRTP, Opus and VP8, four in a call, each sending a beep and a picture of 160x96 at 15 a
second. The two sides take turns on one machine. Bare is a room made, joined, published to and subscribed to by hand over Janus' own
protocol, with its defaults; ours is the whole server. CPU is what the kernel's scheduler gave all threads of janus (schedstat).
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from tests.fakes.janus import Listener, Speaker, janus_of, running_janus
from tests.fakes.server import ServerProcess
from tests.scenario.test_group import Robot, Stage, stage

from secureconnect.clock import SystemClock
from secureconnect.load.report import machine
from secureconnect.media.janus import Janus, Jsep, Message, open_janus

RESULTS = Path(__file__).parent / "results"
PEOPLE = 4


class Round(msgspec.Struct):
    """One stretch: who drove Janus, CPU in µs a packet, packets forwarded a second."""

    driver: str
    cpu_us: float
    per_second: float


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have had of a core."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


async def soon(holds: Callable[[], bool]) -> None:
    """Return within a millisecond or two of when it holds: what a decoder has done can only be asked for."""
    async with asyncio.timeout(30):
        while True:
            if holds():
                return
            await asyncio.sleep(0.001)


async def stretch(driver: str, pid: int, packets: Callable[[], Awaitable[int]], seconds: float) -> Round:
    begun, spent, received = asyncio.get_running_loop().time(), cpu_seconds(pid), await packets()
    await asyncio.sleep(seconds)
    took, spent, received = asyncio.get_running_loop().time() - begun, cpu_seconds(pid) - spent, await packets() - received
    return Round(driver, spent / received * 1e6, received / took)


# --- Ours ---------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def our_call() -> AsyncIterator[tuple[ServerProcess, Stage]]:
    """Four robots who see each other, and one who waits to be let in."""
    with tempfile.TemporaryDirectory() as folder:
        async with ServerProcess(Path(folder), SFU="auto", RATE_LIMITS="off") as server, stage(server) as scene:
            robots = await scene.people("Ann", "Bob", "Cyn", "Dan", "Eve")
            await scene.join(*robots[1:PEOPLE])
            await scene.all_see_all(*robots[:PEOPLE], by_sfu=True)
            yield server, scene


async def our_packets(robots: list[Robot]) -> int:
    links = [robot.session.link for robot in robots]
    return sum([(await link.statistics()).packets_received for link in links if link is not None])


async def set_ups(scene: Stage, count: int) -> list[float]:
    """Seconds from the newcomer's offer to its first picture decoded at Ann, a newcomer at a time."""
    ann, eve = scene.robots[0], scene.robots[PEOPLE]
    found = []
    for _ in range(count):
        await scene.join(eve)
        await soon(lambda: eve.session.link is not None and eve.session.link.has_offered)
        begun, key = asyncio.get_running_loop().time(), eve.session.session_id
        await soon(lambda key=key: any(str(one.remote) == str(key) and one.video.frames for one in ann.session.others))
        found.append(asyncio.get_running_loop().time() - begun)
        await eve.leave()
        await asyncio.sleep(0.5)
    return found


# --- Bare ---------------------------------------------------------------------------------------------------------------------


class Bare:
    """One peer, by hand."""

    def __init__(self, api: Janus, name: str) -> None:
        self._api = api
        self._name = name
        self.speaker, self.listener = Speaker(), Listener()

    async def publish(self) -> None:
        self._session = await self._api.create(lambda: None)
        up = asyncio.Event()

        def heard(message: Message) -> None:
            if message.janus == "webrtcup":
                up.set()

        handle = await self._api.attach(self._session, heard)
        join = {"request": "join", "ptype": "publisher", "room": "bench", "id": self._name}
        await self._api.message(self._session, handle, join)
        offer = Jsep("offer", await self.speaker.offer())
        answer = await self._api.message(self._session, handle, {"request": "publish"}, offer)
        assert answer.jsep is not None
        await self.speaker.take(answer.jsep.sdp)
        await up.wait()

    async def subscribe(self, others: list[str]) -> None:
        handle = await self._api.attach(self._session, lambda message: None)
        streams = [{"feed": other} for other in others]
        offer = await self._api.message(
            self._session, handle, {"request": "join", "ptype": "subscriber", "room": "bench", "streams": streams}
        )
        assert offer.jsep is not None
        answer = Jsep("answer", await self.listener.answer(offer.jsep.sdp))
        await self._api.message(self._session, handle, {"request": "start"}, answer)


@asynccontextmanager
async def bare_call() -> AsyncIterator[tuple[int, list[Bare]]]:
    async with running_janus() as janus:
        api = await open_janus(janus.server.url, janus.server.secret, SystemClock())
        session = await api.create(lambda: None)
        handle = await api.attach(session, lambda message: None)
        create = {"request": "create", "room": "bench", "admin_key": janus.server.secret, "publishers": PEOPLE}
        await api.message(session, handle, create)
        names = [f"peer-{number}" for number in range(PEOPLE)]
        peers = [Bare(api, name) for name in names]
        for peer in peers:
            await peer.publish()
        for peer, name in zip(peers, names, strict=True):
            await peer.subscribe([other for other in names if other != name])
        await soon(lambda: all(len(peer.listener.video) == PEOPLE - 1 for peer in peers))
        yield janus.pid, peers
        await asyncio.gather(*(one.close() for peer in peers for one in (peer.speaker, peer.listener)))
        await api.close()


async def bare_packets(peers: list[Bare]) -> int:
    reports = [report for peer in peers for report in (await peer.listener.connection.getStats()).values()]
    return sum(getattr(report, "packetsReceived", 0) for report in reports if report.type == "inbound-rtp")


# --- Both ---------------------------------------------------------------------------------------------------------------------


async def measure(run: argparse.Namespace) -> tuple[list[Round], list[float]]:
    """Turns of both in two calls that stand all the while: what one sends while the other is measured is the same for both."""
    async with AsyncExitStack() as stack:
        server, scene = await stack.enter_async_context(our_call())
        pid, peers = await stack.enter_async_context(bare_call())
        rounds = []
        for _ in range(run.rounds):
            rounds.append(await stretch("ours", janus_of(server), lambda: our_packets(scene.robots[:PEOPLE]), run.seconds))
            rounds.append(await stretch("bare", pid, lambda: bare_packets(peers), run.seconds))
    async with our_call() as (_, scene):
        return rounds, await set_ups(scene, run.joins)


def write(rounds: list[Round], joins: list[float], run: argparse.Namespace) -> Path:
    day, facts = datetime.now(UTC).date().isoformat(), machine()
    path = RESULTS / f"{day}-group.md"
    lines = [f"# Group calls, {day}", "", ", ".join(f"{name}: {value}" for name, value in facts.items()), ""]
    lines += ["| Janus driven by | CPU a forwarded packet, µs: median (lowest to highest) | packets a second |", "|---|---|---|"]
    for driver in ("ours", "bare"):
        costs = sorted(one.cpu_us for one in rounds if one.driver == driver)
        rate = statistics.median(one.per_second for one in rounds if one.driver == driver)
        name = "SecureConnect" if driver == "ours" else "hand"
        lines.append(f"| {name} | {statistics.median(costs):.1f} ({costs[0]:.1f} to {costs[-1]:.1f}) | {rate:,.0f} |")
    ordered = sorted(joins)
    p50, p95 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    seen = f"p50 {p50 * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms"
    lines += ["", f"From the offer of the fifth to its first picture decoded at another, {len(joins)} times: {seen}.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    kept = {"machine": facts, "run": vars(run), "rounds": [msgspec.structs.asdict(one) for one in rounds], "joins": joins}
    path.with_suffix(".json").write_text(json.dumps(kept) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--joins", type=int, default=20)
    run = parser.parse_args()
    print(write(*asyncio.run(measure(run)), run).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
