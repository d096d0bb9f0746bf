"""Two participants at different nodes: what a relay through Redis costs each node, and how long it takes beside a bare publish.

    uv run python -m bench.two_nodes [--nodes 3]

Redis, PostgreSQL and the nodes are started here, by the starters of the tests; driver and all of them share this machine's cores.
Every message is checked as `secureconnect bench relay` checks it. Beside the open loop a bare SPUBLISH of the same size goes round
through the same Redis, every few milliseconds. Writes bench/results/<date>-nodes-<n>.md and .json.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import redis.asyncio as redis
import uvloop
from rich.console import Console
from rich.progress import Progress
from tests.fakes.postgres import running_postgres
from tests.fakes.redis import RedisServer
from tests.fakes.server import SECRET, ServerProcess

from secureconnect.load.people import converse, gather_people, initiate, join
from secureconnect.load.proc import Process
from secureconnect.load.relay import Pair, flows_of, open_lane
from secureconnect.load.report import machine
from secureconnect.load.rest import Rest
from secureconnect.load.target import Target
from secureconnect.load.traffic import Lane, Phase, Tally, closed_loop, open_loop, quantile
from secureconnect.load.wire import SecureConnectWire
from secureconnect.store import open_database
from secureconnect.store.schema import migrate

RESULTS = Path(__file__).parent / "results"
PROBE_SECONDS = 0.005
COLUMNS = (
    *("size", "relays/s", "CPU a relay on each node, µs", "on Redis, µs", "open rate/s", "CPU a relay there, µs"),
    *("p50, ms", "p99, ms", "bare p50, ms", "bare p99, ms", "p99 over bare"),
)


class Figures(msgspec.Struct, frozen=True):
    """What one size showed. CPU is microseconds of one process for each relay of the whole cluster; latencies are milliseconds."""

    size: int
    per_second: float
    node_cpu_us: list[float]
    redis_cpu_us: float
    rate: float
    open_node_cpu_us: list[float]
    p50_ms: float
    p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float


@asynccontextmanager
async def cluster(count: int, folder: Path) -> AsyncIterator[tuple[RedisServer, list[ServerProcess]]]:
    """`count` nodes on a fresh PostgreSQL and a fresh Redis."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(running_postgres())
        database = open_database(url)
        await migrate(database)
        await database.close()
        server = RedisServer()
        server.start()
        stack.callback(server.stop)
        nodes = [
            ServerProcess(folder / str(number), DATABASE_URL=url, BUS_URL=server.url, RATE_LIMITS="off") for number in range(count)
        ]
        for node in nodes:
            await stack.enter_async_context(node)
        yield server, nodes


async def call_across(rest: Rest, first: Target, second: Target, people: Sequence, tally: Tally) -> Pair:
    """A call of two people, each at a node of their own."""
    caller, callee = people
    call = await initiate(rest, caller, callee, await converse(rest, caller, callee))
    await join(rest, callee, call.call_id)
    wire = SecureConnectWire()
    one, one_session = await open_lane(first, caller, call.call_id, Lane(wire, tally))
    other, other_session = await open_lane(second, callee, call.call_id, Lane(wire, tally))
    return Pair((one, other), (one_session, other_session))


async def bare_round_trips(url: str, size: int, seconds: float) -> list[float]:
    """Seconds from SPUBLISH to its message at a subscriber of the same process, one at a time."""
    client = redis.Redis.from_url(url, protocol=2)
    listener = redis.Redis.from_url(url, socket_timeout=None, protocol=2).pubsub()
    await listener.ssubscribe("bench")
    await listener.get_message(timeout=5)
    body, found, end = b"x" * size, [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        sending = asyncio.ensure_future(client.execute_command("SPUBLISH", "bench", body))
        while (await listener.get_message(timeout=5)) is None:
            pass
        found.append(time.perf_counter() - begun)
        await sending
        await asyncio.sleep(PROBE_SECONDS)
    await listener.aclose()
    await client.aclose()
    return sorted(found)


class Costs:
    """CPU of several processes between its making and `each`."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._before = [one.cpu_seconds() for one in processes]

    def each(self, relays: int) -> list[float]:
        after = [one.cpu_seconds() for one in self._processes]
        return [(now - then) / max(relays, 1) * 1e6 for now, then in zip(after, self._before, strict=True)]


async def measure(
    size: int, pairs: Sequence[Pair], tally: Tally, servers: Sequence[Process], url: str, run: argparse.Namespace
) -> Figures:
    phase = Phase(None, 0.0, run.seconds, lambda _: None)
    await closed_loop(flows_of(pairs, size, tally), tally, Phase(None, 0.0, 1.0, lambda _: None), window=run.window)
    costs, first = Costs(servers), len(tally.latencies)
    closed = await closed_loop(flows_of(pairs, size, tally), tally, phase, window=run.window)
    spent = costs.each(len(tally.latencies) - first)
    costs, first = Costs(servers), len(tally.latencies)
    probing = asyncio.ensure_future(bare_round_trips(url, size, run.seconds))
    opened = await open_loop(flows_of(pairs, size, tally), tally, phase, rate=run.rate)
    open_spent = costs.each(len(tally.latencies) - first)
    bare = await probing
    return Figures(
        size,
        closed.per_second,
        spent[1:],
        spent[0],
        opened.per_second,
        open_spent[1:],
        opened.latency_ms(0.5),
        opened.latency_ms(0.99),
        quantile(bare, 0.5) * 1e3,
        quantile(bare, 0.99) * 1e3,
    )


async def run_all(run: argparse.Namespace, console: Console) -> tuple[list[Figures], list[str]]:
    with TemporaryDirectory(prefix="secureconnect-bench-") as folder:
        async with cluster(run.nodes, Path(folder)) as (server, nodes):
            targets = [Target(node.url, SECRET, None) for node in nodes]
            rest = Rest(targets[0].url)
            tally = Tally()
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("calls", total=run.pairs)
                people = await gather_people(rest, 2 * run.pairs, SECRET, lambda _: None)
                places = list(pairwise([*targets, targets[0]])) if len(targets) > 1 else [(targets[0], targets[0])]
                pairs = []
                for number in range(run.pairs):
                    first, second = places[number % len(places)]
                    pairs.append(await call_across(rest, first, second, people[2 * number : 2 * number + 2], tally))
                    progress.advance(task)
                processes = [Process(server.pid), *(Process(node.pid) for node in nodes)]
                figures = [await measure(size, pairs, tally, processes, server.url, run) for size in (300, 4096)]
            rest.close()
            return figures, [f"{fault}: {count:,}" for fault, count in tally.faults.items()]


def write(figures: Sequence[Figures], problems: Sequence[str], run: argparse.Namespace) -> Path:
    day = datetime.now(UTC).date().isoformat()
    path = RESULTS / f"{day}-nodes-{run.nodes}.md"
    facts = machine()
    lines = [
        f"# {run.nodes} node(s) on one Redis, {day}",
        "",
        f"{run.pairs} calls of two, each person at another node; {run.window} under way each way in the closed loop, "
        f"{run.seconds:g} s a stretch.",
        ", ".join(f"{name}: {value}" for name, value in facts.items()),
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for one in figures:
        each, opened = (" / ".join(f"{cost:.1f}" for cost in costs) for costs in (one.node_cpu_us, one.open_node_cpu_us))
        lines.append(
            f"| {one.size} B | {one.per_second:,.0f} | {each} | {one.redis_cpu_us:.1f} | {one.rate:,.0f} | {opened} "
            f"| {one.p50_ms:.2f} | {one.p99_ms:.2f} | {one.bare_p50_ms:.2f} | {one.bare_p99_ms:.2f} "
            f"| {one.p99_ms / one.bare_p99_ms:.2f} |"
        )
    lines += ["", f"Faults: {', '.join(problems) or 'none: every message arrived once, in order, unaltered.'}", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.with_suffix(".json").write_bytes(
        msgspec.json.encode({"machine": facts, "run": vars(run), "sizes": figures, "faults": problems}) + b"\n"
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--window", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=2_000.0, help="messages a second in the open loop")
    run = parser.parse_args()
    figures, problems = uvloop.run(run_all(run, Console(stderr=True)))
    print(write(figures, problems, run).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
