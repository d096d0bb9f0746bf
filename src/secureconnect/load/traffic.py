"""Messages through a relay: sent as fast as they return, or at a rate; every one checked.

Called by relay and by bench/side_by_side.py, with the wire of the server under test, so that all servers meet the same driver.
Nothing here opens a connection or asks a server for anything.
"""

import asyncio
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from secureconnect.load.contents import DIGITS, Content
from secureconnect.load.proc import Process, busy_seconds
from secureconnect.load.report import quantile
from secureconnect.load.rest import LoadError
from secureconnect.load.wire import Arrival, RefusedError, Wire

SPIN_SECONDS = 0.002
"""Nearer than this the open loop does not sleep: the event loop's timers count whole milliseconds."""
BURST = 256
"""Messages sent before the driver reads again, when it has fallen behind its rate."""

Tick = Callable[[float], None]
"""Hears how many seconds of a phase have passed."""


class Tally:
    """What all flows of a run share: seconds from due to arrival, one for each message, and what went wrong."""

    def __init__(self) -> None:
        self.latencies = array("d")
        self.faults: Counter[str] = Counter()


class Lane(WSListener):
    """The driver's end of one socket: receives one flow, and lends its transport to another."""

    def __init__(self, wire: Wire, tally: Tally) -> None:
        self.wire = wire
        self.greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport: WSTransport | None = None
        self.inbound: Flow | None = None
        self._tally = tally
        self._last_seq = -1
        self._close_code = 1006

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            self._close_code = frame.get_close_code().value
            transport.disconnect()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        if not self.greeting.done():
            self.greeting.set_result(frame.get_payload_as_bytes())
            return
        try:
            arrival = self.wire.read(frame.get_payload_as_memoryview())
        except RefusedError as error:
            advice = " (it limits what a session may say; rate_limits = off to measure)" if str(error) == "rate_limited" else ""
            self._tally.faults[f"error {error} from the server{advice}"] += 1
            return
        except msgspec.DecodeError:
            self._tally.faults["frame that is no message"] += 1
            return
        if arrival is not None and self.inbound is not None:
            self._check_order(arrival)
            self.inbound.arrive(arrival.value)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.greeting.done():
            self.greeting.set_exception(LoadError("the socket closed before its first frame"))
        if self.inbound is not None:
            self._tally.faults[f"socket closed, {self._close_code}"] += 1

    def _check_order(self, arrival: Arrival) -> None:
        if arrival.seq is None:
            return
        if arrival.seq <= self._last_seq:
            self._tally.faults["seq that did not grow"] += 1
        self._last_seq = arrival.seq


class Flow:
    """Numbered messages from one lane to another."""

    def __init__(self, sender: Lane, receiver: Lane, target: str, content: Content, tally: Tally) -> None:
        assert sender.transport is not None
        self._transport = sender.transport
        self._head, self._tail = sender.wire.frame(content, target)
        self._content = content
        self._tally = tally
        self._due: deque[float] = deque()
        self._sent = 0
        self._arrived = 0
        self.refill = False
        """Closed loop: answer each arrival with the next message."""
        receiver.inbound = self

    @property
    def frame_bytes(self) -> int:
        return len(self._head) + DIGITS + len(self._tail)

    @property
    def under_way(self) -> int:
        return len(self._due)

    def send(self, due: float) -> None:
        """Send the next message, which was to leave at `due` (perf_counter)."""
        self._due.append(due)
        self._transport.send(WSMsgType.TEXT, b"%b%0*d%b" % (self._head, DIGITS, self._sent, self._tail))
        self._sent += 1

    def arrive(self, value: bytes) -> None:
        """Check that this is the next message, unchanged; then take its time."""
        now = time.perf_counter()
        if value != self._content.at(self._arrived) and not self._resynchronize(value):
            return
        self._arrived += 1
        self._tally.latencies.append(now - self._due.popleft())
        if self.refill:
            self.send(now)

    def _resynchronize(self, value: bytes) -> bool:
        """Name the fault. True when the value still counts as an arrival: of a later message, or of this one, altered."""
        number = self._content.number_in(value)
        if number is None:
            self._tally.faults["message altered"] += 1
            return self.under_way > 0
        if number < self._arrived:
            self._tally.faults["message twice or out of order"] += 1
            return False
        if number >= self._sent:
            self._tally.faults["message nobody sent"] += 1
            return False
        self._tally.faults["message lost or overtaken"] += number - self._arrived
        while self._arrived < number:
            self._arrived += 1
            self._due.popleft()
        return True


class Sample(msgspec.Struct, frozen=True):
    """One stretch of measuring. Seconds throughout."""

    seconds: float
    latencies: Sequence[float]
    """Of each message that arrived in the stretch, sorted."""
    server_cpu: float | None
    driver_cpu: float
    machine_cpu: float
    """All cores of the driver's machine, whoever used them."""

    @property
    def others(self) -> float | None:
        """Cores used by neither server nor driver: more than a little, and the numbers are not worth keeping."""
        if self.server_cpu is None or not self.machine_cpu:
            return None
        return max(self.machine_cpu - self.server_cpu - self.driver_cpu, 0.0) / self.seconds

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def server_cpu_us(self) -> float | None:
        """Microseconds of the server's CPU for each message."""
        return None if self.server_cpu is None else self.server_cpu / max(len(self.latencies), 1) * 1e6

    def latency_ms(self, fraction: float) -> float:
        return quantile(self.latencies, fraction) * 1e3


class Meter:
    """Measures the stretch from its making to `stop`."""

    def __init__(self, tally: Tally, server: Process | None) -> None:
        self._tally = tally
        self._server = server
        self._server_cpu = server.cpu_seconds() if server else 0.0
        self._driver_cpu = time.process_time()
        self._machine_cpu = busy_seconds()
        self._first = len(tally.latencies)
        self._started = time.perf_counter()

    def stop(self) -> Sample:
        seconds = time.perf_counter() - self._started
        server_cpu = self._server.cpu_seconds() - self._server_cpu if self._server else None
        driver_cpu = time.process_time() - self._driver_cpu
        machine_cpu = busy_seconds() - self._machine_cpu
        return Sample(seconds, sorted(self._tally.latencies[self._first :]), server_cpu, driver_cpu, machine_cpu)


class Phase(msgspec.Struct, frozen=True):
    """What both loops need to know: whose CPU to read, how long to run before and while measuring, whom to tell."""

    server: Process | None
    warm_up: float
    seconds: float
    tick: Tick


async def closed_loop(flows: Sequence[Flow], tally: Tally, phase: Phase, *, window: int) -> Sample:
    """Keep `window` messages of every flow under way; what does not arrive is counted among the faults."""
    for flow in flows:
        flow.refill = True
        for _ in range(window):
            flow.send(time.perf_counter())
    sample = await _stretch(tally, phase)
    for flow in flows:
        flow.refill = False
    await _drain(flows, tally)
    return sample


async def open_loop(flows: Sequence[Flow], tally: Tally, phase: Phase, *, rate: float) -> Sample:
    """Send `rate` messages a second in all, whatever returns; latency counts from when a message was due, so a stall of the
    driver or the server is not left out.
    """
    pacing = asyncio.create_task(_pace(flows, rate, phase.warm_up + phase.seconds))
    try:
        sample = await _stretch(tally, phase)
        await pacing
    finally:
        pacing.cancel()
    await _drain(flows, tally)
    return sample


async def _stretch(tally: Tally, phase: Phase) -> Sample:
    """Let the traffic run warm, then measure it."""
    await elapse(phase.warm_up, phase.tick)
    meter = Meter(tally, phase.server)
    await elapse(phase.seconds, lambda passed: phase.tick(phase.warm_up + passed))
    return meter.stop()


async def _pace(flows: Sequence[Flow], rate: float, seconds: float) -> None:
    started = time.perf_counter()
    sent = 0
    while (now := time.perf_counter()) < started + seconds:
        until = min(int((now - started) * rate), sent + BURST)
        while sent < until:
            flows[sent % len(flows)].send(started + sent / rate)
            sent += 1
        wait = started + sent / rate - time.perf_counter()
        await asyncio.sleep(wait - SPIN_SECONDS / 2 if wait > SPIN_SECONDS else 0)


async def elapse(seconds: float, tick: Tick) -> None:
    """Let time pass, and say so."""
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        tick(passed)
        await asyncio.sleep(min(0.25, seconds - passed))


async def _drain(flows: Sequence[Flow], tally: Tally, patience: float = 5.0) -> None:
    """Wait until nothing is under way; count what is, once nothing has arrived for `patience` seconds."""
    before, since = -1, time.perf_counter()
    while missing := sum(flow.under_way for flow in flows):
        if missing != before:
            before, since = missing, time.perf_counter()
        elif time.perf_counter() > since + patience:
            tally.faults["message that did not arrive"] += missing
            return
        await asyncio.sleep(0.01)
