"""The relay of SecureConnect next to others, in one run: the same driver, the same messages, one server core, turn by turn.

    uv run python bench/side_by_side.py [--rounds 5] [--seconds 3] [--pairs 50] [--window 16] [--rate 10000] [--tries 5]

Installs the Node servers into bench/relays/node_modules when they are missing. Writes bench/results/<date>-relay-window-<n>.*
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import uvloop
from picows import ws_connect
from rich.console import Console
from rich.progress import Progress

from results import FLOOR, OURS, SIZES, Run, Turn, write
from secureconnect.load.options import Options
from secureconnect.load.proc import Process, cores, running_on
from secureconnect.load.relay import Pair, flows_of, hang_up, set_up
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import free_port, open_target, stop
from secureconnect.load.traffic import Lane, Phase, Sample, Tally, closed_loop, open_loop
from secureconnect.load.wire import SecureConnectWire
from wires import PeerWire

HERE = Path(__file__).parent
RELAYS = HERE / "relays"
WARM_UP = 0.5
QUIET_CORES = 0.1
"""How much of the machine others may use in a turn that counts."""


class Subject(msgspec.Struct):
    """A server under test, its pairs connected."""

    name: str
    process: Process
    pairs: list[Pair]
    tally: Tally


@asynccontextmanager
async def reference(name: str, command: list[str], address: str, pairs: int) -> AsyncIterator[Subject]:
    """A server of bench/relays on the server's core. `address` is the path of a member's socket, with {call} and {member}."""
    port = free_port()
    apart = cores()
    with running_on(apart[0] if apart else None):
        child = await asyncio.create_subprocess_exec(*command, str(port), stdout=subprocess.DEVNULL)
    tally = Tally()
    try:
        await listening(port, child)
        wire = PeerWire() if name == "PeerJS server" else SecureConnectWire()
        connected = [await pair_of(f"ws://127.0.0.1:{port}{address}", call, wire, tally) for call in range(pairs)]
        yield Subject(name, Process(child.pid), connected, tally)
    finally:
        await stop(child)


async def listening(port: int, child: asyncio.subprocess.Process) -> None:
    """Wait for a reference to listen. Raises LoadError when it ends or takes ten seconds."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise LoadError(f"no reference listens at port {port}; its status is {child.returncode}")


async def pair_of(address: str, call: int, wire: SecureConnectWire | PeerWire, tally: Tally) -> Pair:
    """Two members of one call, connected. Names have the length of a UUID, as session ids have."""
    names = [f"{call:08d}-0000-0000-0000-{side:012d}" for side in (0, 1)]
    lanes = [Lane(wire, tally), Lane(wire, tally)]
    for lane, name in zip(lanes, names, strict=True):
        await ws_connect(lambda lane=lane: lane, address.format(call=call, member=name))
        await lane.greeting
    return Pair((lanes[0], lanes[1]), (names[0], names[1]))


@asynccontextmanager
async def ours(pairs: int) -> AsyncIterator[Subject]:
    """`secureconnect serve` as it comes, its rate limits off."""
    async with open_target(Options()) as target:
        rest, tally = Rest(target.url), Tally()
        assert target.process is not None
        with Progress(disable=True) as silent:
            connected = await set_up(rest, target, pairs, tally, silent)
        yield Subject(OURS, target.process, list(connected), tally)
        await hang_up(rest, connected)
        rest.close()


async def quiet_turn(subject: Subject, size: int, number: int, arguments: argparse.Namespace) -> Turn:
    """A turn in which others left the machine alone, or the quietest of a few."""
    tried = []
    for _ in range(arguments.tries):
        tried.append(await turn(subject, size, number, arguments))
        if tried[-1].others_busy <= QUIET_CORES:
            break
    return min(tried, key=lambda one: one.others_busy)


async def turn(subject: Subject, size: int, number: int, arguments: argparse.Namespace) -> Turn:
    """Closed loop for cost and throughput, then open loop at one rate for everybody, for latency."""
    phase = Phase(subject.process, WARM_UP, arguments.seconds, lambda passed: None)
    flows = flows_of(subject.pairs, size, subject.tally)
    closed = await closed_loop(flows, subject.tally, phase, window=arguments.window)
    flows = flows_of(subject.pairs, size, subject.tally)
    opened = await open_loop(flows, subject.tally, phase, rate=arguments.rate)
    return Turn(
        subject.name,
        size,
        number,
        closed.per_second,
        cost(closed),
        cost(opened),
        opened.latency_ms(0.50),
        opened.latency_ms(0.99),
        (closed.server_cpu or 0.0) / closed.seconds,
        closed.driver_cpu / closed.seconds,
        max(closed.others or 0.0, opened.others or 0.0),
    )


def cost(sample: Sample) -> float:
    assert sample.server_cpu_us is not None
    return sample.server_cpu_us


async def measure(arguments: argparse.Namespace, console: Console) -> tuple[list[Turn], list[str]]:
    """All turns, and what went wrong in them."""
    references = [
        (FLOOR, [sys.executable, str(RELAYS / "picows_relay.py")], "/?call_id={call}&session_id={member}"),
        ("Node ws", ["node", str(RELAYS / "ws_relay.mjs")], "/?call_id={call}&session_id={member}"),
        ("PeerJS server", ["node", str(RELAYS / "peer.mjs")], "/peerjs?key=bench&id={member}&token=t"),
    ]
    turns = []
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(reference(name, command, address, arguments.pairs))
            for name, command, address in references
        ]
        # Last, because it leaves this thread on the driver's core.
        subjects = [await stack.enter_async_context(ours(arguments.pairs)), *others]
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("", total=arguments.rounds * len(SIZES) * len(subjects))
            for number in range(arguments.rounds):
                for size in SIZES:
                    for subject in subjects:
                        progress.update(task, description=f"round {number + 1}: {subject.name}, {size} B")
                        turns.append(await quiet_turn(subject, size, number, arguments))
                        progress.advance(task)
        faults = [f"{subject.name}: {what}: {count}" for subject in subjects for what, count in subject.tally.faults.items()]
        for subject in subjects:
            for pair in subject.pairs:
                for lane in pair.lanes:
                    lane.inbound = None
    return turns, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--tries", type=int, default=5, help="repeat a turn that others disturb up to this often")
    parser.add_argument("--rate", type=float, default=10_000.0)
    arguments = parser.parse_args()
    if shutil.which("node") is None:
        parser.error("the references need Node 20 or later")
    if not (RELAYS / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=RELAYS, check=True)
    console = Console(stderr=True)
    turns, faults = uvloop.run(measure(arguments, console))
    run = Run(arguments.rounds, arguments.seconds, arguments.pairs, arguments.window, arguments.rate)
    print(write(turns, faults, run).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
