"""`secureconnect bench relay`: what a signaling message costs the server, and how long it takes.

Called by cli. Sets up calls of two, lets traffic run over their sockets and reports; every message is checked by number, content
and seq.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec
from picows import WSError, ws_connect
from rich.console import Console
from rich.progress import Progress

from secureconnect.load.contents import content_of
from secureconnect.load.options import RelayOptions
from secureconnect.load.people import Person, all_of, converse, end, gather_people, initiate, join
from secureconnect.load.report import Case, Report, machine
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target, open_target
from secureconnect.load.traffic import Flow, Lane, Phase, Sample, Tally, closed_loop, open_loop
from secureconnect.load.wire import SecureConnectWire


class Pair(msgspec.Struct):
    """Two people in a call, each with a lane and a session to be written to."""

    lanes: tuple[Lane, Lane]
    sessions: tuple[str, str]


class CalledPair(Pair):
    """A pair of a SecureConnect server, with what it takes to end the call."""

    caller: Person
    call_id: UUID


class _Welcome(msgspec.Struct):
    session_id: str


async def run_relay(options: RelayOptions, console: Console) -> Report:
    """Measure the relay at every size. Raises LoadError when the calls cannot be set up."""
    async with open_target(options) as target:
        rest = Rest(target.url)
        tally = Tally()
        try:
            with Progress(console=console, transient=True, refresh_per_second=4) as progress:
                pairs = await set_up(rest, target, options.pairs, tally, progress)
                cases = [await _measure(size, pairs, target, tally, options, progress=progress) for size in options.sizes]
                problems = [f"{fault}: {count:,}" for fault, count in tally.faults.items()]
                await hang_up(rest, pairs)
        finally:
            rest.close()
        return Report(
            what=f"relay · {options.pairs} calls of two, {options.window} message(s) under way each way",
            url=target.url,
            machine=machine(),
            cases=cases,
            problems=problems,
        )


async def set_up(rest: Rest, target: Target, count: int, tally: Tally, progress: Progress) -> list[CalledPair]:
    """`count` calls of two with their sockets open. Raises LoadError."""
    task = progress.add_task("people", total=2 * count)
    people = await gather_people(rest, 2 * count, target.secret, lambda done: progress.update(task, completed=done))
    task = progress.add_task("calls", total=count)

    async def one(caller: Person, callee: Person) -> CalledPair:
        pair = await _connect(rest, target, caller, callee, tally)
        progress.advance(task)
        return pair

    return await all_of(one(caller, callee) for caller, callee in zip(people[::2], people[1::2], strict=True))


async def _connect(rest: Rest, target: Target, caller: Person, callee: Person, tally: Tally) -> CalledPair:
    call = await initiate(rest, caller, callee, await converse(rest, caller, callee))
    await join(rest, callee, call.call_id)
    wire = SecureConnectWire()
    lanes = []
    sessions = []
    for person in (caller, callee):
        lane, session = await open_lane(target, person, call.call_id, Lane(wire, tally))
        lanes.append(lane)
        sessions.append(session)
    return CalledPair((lanes[0], lanes[1]), (sessions[0], sessions[1]), caller, call.call_id)


async def open_lane(target: Target, person: Person, call_id: UUID, lane: Lane) -> tuple[Lane, str]:
    """The lane connected, and its session."""
    address = f"{target.socket_url}/v1/calls/ws/signaling?call_id={call_id}&device_id={person.device_id}"
    try:
        await ws_connect(lambda: lane, address, extra_headers=person.headers)
    except (WSError, OSError, TimeoutError) as error:
        raise LoadError(f"signaling socket refused: {error}") from error
    async with asyncio.timeout(10):
        welcome = msgspec.json.decode(await lane.greeting, type=_Welcome)
    return lane, welcome.session_id


async def _measure(
    size: int, pairs: Sequence[Pair], target: Target, tally: Tally, options: RelayOptions, *, progress: Progress
) -> Case:
    task = progress.add_task(f"{size} B, closed loop", total=options.warm_up + options.seconds)
    phase = Phase(target.process, options.warm_up, options.seconds, lambda passed: progress.update(task, completed=passed))
    closed = await closed_loop(flows_of(pairs, size, tally), tally, phase, window=options.window)
    rate = options.rate or closed.per_second / 2
    progress.update(task, description=f"{size} B, open loop at {rate:,.0f}/s", completed=0)
    opened = await open_loop(flows_of(pairs, size, tally), tally, phase, rate=rate)
    progress.remove_task(task)
    return case_of(f"{size} B", closed, opened)


def flows_of(pairs: Sequence[Pair], size: int, tally: Tally) -> list[Flow]:
    """Both directions of every pair, numbered from 0."""
    content = content_of(size)
    flows = []
    for pair in pairs:
        (first, second), (first_session, second_session) = pair.lanes, pair.sessions
        flows.append(Flow(first, second, second_session, content, tally))
        flows.append(Flow(second, first, first_session, content, tally))
    return flows


def case_of(name: str, closed: Sample, opened: Sample) -> Case:
    """One column of the table from what both loops measured."""
    values = {
        "throughput_per_s": closed.per_second,
        "driver_busy": closed.driver_cpu / closed.seconds,
        "rate_per_s": opened.per_second,
        "open_p50_ms": opened.latency_ms(0.50),
        "open_p90_ms": opened.latency_ms(0.90),
        "open_p99_ms": opened.latency_ms(0.99),
    }
    if closed.server_cpu is not None and closed.server_cpu_us is not None and opened.server_cpu_us is not None:
        values["server_cpu_us"] = closed.server_cpu_us
        values["server_busy"] = closed.server_cpu / closed.seconds
        values["open_server_cpu_us"] = opened.server_cpu_us
    if closed.others is not None and opened.others is not None:
        values["others_busy"] = max(closed.others, opened.others)
    return Case(name, values)


async def hang_up(rest: Rest, pairs: Sequence[CalledPair]) -> None:
    """Close the sockets and end the calls."""
    for pair in pairs:
        for lane in pair.lanes:
            lane.inbound = None
            if lane.transport is not None:
                lane.transport.disconnect()
    await all_of(end(rest, pair.caller, pair.call_id) for pair in pairs)
