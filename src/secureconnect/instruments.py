"""What the parts of this process show to Prometheus: which of their plain numbers are read, under which names. Called by app.

Decides nothing; the names, and what they tell an operator, are in docs/operate.md.
"""

import asyncio
import platform
from collections.abc import Callable, Mapping
from operator import attrgetter

from secureconnect.bus import Bus, BusFigures
from secureconnect.calls.call import Call, CallType, State
from secureconnect.calls.timers import Timers
from secureconnect.clock import Clock, CorrectedClock
from secureconnect.errors import ServiceError
from secureconnect.http_protocol import RESPONSE_BYTES, PatientProtocol
from secureconnect.ops import loops
from secureconnect.ops.health import PROBE_SECONDS, Health, HealthReport
from secureconnect.ops.metrics import Metrics, Values
from secureconnect.ops.ratelimit import RateLimiter
from secureconnect.push import Kind, Outcome, Push
from secureconnect.signaling.call_socket import CallSockets
from secureconnect.signaling.outgoing import USER_BYTES, Outgoing
from secureconnect.signaling.socket import Sockets
from secureconnect.store import Database
from secureconnect.store.failures import RETRYABLE
from secureconnect.store.figures import Figures, figures

RING_OUTCOMES = {
    State.JOINED: "answered",
    State.DECLINED: "declined",
    State.MISSED: "missed",
    State.CANCELLED: "cancelled",
    State.BUSY: "busy",
}
KINDS = ("signaling", "events")
HOW_SESSIONS_BEGIN = ("new", "resumed", "renewed")
FAILURES = ("unavailable", "outcome_unknown", "contended")


class CallCounter:
    """Counts calls and rings from what a change made of a call: handed to the call service as `on_change`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # A figure that is not there until something happens cannot be compared with a time before it did.
        for call_type in CallType:
            metrics.calls_started.labels(call_type)
        for outcome in RING_OUTCOMES.values():
            metrics.rings.labels(outcome)

    def __call__(self, before: Call | None, after: Call) -> None:
        metrics = self._metrics
        if before is None:
            metrics.calls_started.labels(after.call_type).inc()
        for outcome in rings_ended(before, after):
            metrics.rings.labels(outcome).inc()
        if after.answered_at is not None and (before is None or before.answered_at is None):
            metrics.answer_seconds.observe((after.answered_at - after.created_at).total_seconds())
        if after.over and (before is None or not before.over):
            metrics.calls_ended.labels(after.status, after.end_reason).inc()
            if after.answered_at is not None and after.ended_at is not None:
                metrics.call_seconds.observe((after.ended_at - after.answered_at).total_seconds())


def rings_ended(before: Call | None, after: Call) -> list[str]:
    """What became of each person who rang before and does not now, and of each who was busy from the start."""
    ended = []
    for one in after.participants:
        was = before.participant(one.user_id) if before is not None else None
        rang = was is not None and was.state is State.RINGING and one.state is not State.RINGING
        if rang or (was is None and one.state is State.BUSY):
            ended.append(RING_OUTCOMES.get(one.state, str(one.state)))
    return ended


def count_push(metrics: Metrics, clock: Clock) -> Callable[[Push, str], None]:
    """What the outbox is handed as `on_outcome`."""

    def count(push: Push, word: str) -> None:
        metrics.pushes.labels(push.provider, word).inc()
        if push.kind is Kind.RING and word == Outcome.DELIVERED and push.queued_at is not None:
            metrics.ring_seconds.labels("push").observe(max(0.0, (clock.now() - push.queued_at).total_seconds()))

    return count


def show_process(metrics: Metrics, *, version: str, service: str, health: Health) -> None:
    """Who it is, whether it goes away, and how its dependencies answer: asked for each page, as `/health` asks."""
    build: dict[tuple[str, ...], float] = {(version, service, platform.python_version()): 1.0}
    metrics.read_when_asked(
        "secureconnect_build_info", "What runs here; always 1.", lambda: build, labels=("version", "service", "python")
    )
    metrics.read_when_asked("secureconnect_draining", "1 when this process goes away.", lambda: float(health.draining))
    latest: HealthReport | None = None

    async def ask() -> None:
        nonlocal latest
        latest = await health.report()

    def is_up() -> Values:
        answers = latest.dependencies if latest is not None else {}
        return {(name,): float(one.status == "healthy") for name, one in answers.items()}

    def took() -> Values:
        answers = latest.dependencies if latest is not None else {}
        return {(name,): one.latency_ms / 1000 for name, one in answers.items() if one.latency_ms is not None}

    metrics.ask_before_a_page(ask)
    metrics.read_when_asked("secureconnect_dependency_up", "1 when it answers, by name.", is_up, labels=("dependency",))
    metrics.read_when_asked("secureconnect_dependency_seconds", "What the answer took, seconds.", took, labels=("dependency",))


def show_sockets(metrics: Metrics, sockets: Sockets, calls: CallSockets, *, max_sockets: int) -> None:
    """Sockets by kind, sessions by how they began, and what is relayed."""
    read = metrics.read_when_asked

    def open_now() -> Values:
        gone = {kind: sum(count for (of, _), count in sockets.closed.items() if of == kind) for kind in KINDS}
        return {(kind,): float(sockets.opened[kind] - gone[kind]) for kind in KINDS}

    read("secureconnect_sockets", "Open sockets.", open_now, labels=("kind",))
    read("secureconnect_sockets_max", "How many there may be.", lambda: max_sockets)
    read("secureconnect_handshakes", "Sockets that are being admitted.", lambda: sockets.handshakes)
    show_outgoing(metrics, sockets.outgoing)
    read(
        "secureconnect_sockets_opened",
        "Sockets opened.",
        lambda: {(kind,): float(sockets.opened[kind]) for kind in KINDS},
        labels=("kind",),
        counts=True,
    )
    read(
        "secureconnect_sockets_closed",
        "Sockets closed.",
        lambda: {(kind, code): float(count) for (kind, code), count in sockets.closed.items()},
        labels=("kind", "code"),
        counts=True,
    )
    read(
        "secureconnect_sessions",
        "Signaling sockets by how their session began.",
        lambda: {(how,): float(calls.sessions[how]) for how in HOW_SESSIONS_BEGIN},
        labels=("how",),
        counts=True,
    )
    read("secureconnect_calls_here", "Calls with a signaling socket at this node.", lambda: len(calls.hub))
    read("secureconnect_relayed", "Signaling messages relayed.", lambda: calls.handlers.relayed, counts=True)
    read(
        "secureconnect_frame_refusals",
        "Signaling frames refused.",
        lambda: _by_word(calls.handlers.refused),
        labels=("code",),
        counts=True,
    )


def show_outgoing(metrics: Metrics, outgoing: Outgoing) -> None:
    """Sockets of users, and the bytes that wait for clients that do not read, each with its limit."""
    read = metrics.read_when_asked
    read("secureconnect_socket_users", "Users with a socket at this process.", lambda: outgoing.users)
    read("secureconnect_user_sockets_largest", "Sockets of the user who has most.", lambda: outgoing.most_sockets)
    read("secureconnect_user_sockets_max", "Sockets that one user may have.", lambda: outgoing.sockets_per_user)
    read(
        "secureconnect_user_sockets_closed",
        "Sockets closed because their user opened another one.",
        lambda: outgoing.closed_for_newer,
        counts=True,
    )
    read("secureconnect_send_buffer_bytes", "Bytes that wait for clients that do not read.", lambda: outgoing.held)
    read("secureconnect_send_buffer_max_bytes", "How many there may be.", lambda: outgoing.total)
    read("secureconnect_user_send_buffer_largest_bytes", "The same of the user with most.", lambda: outgoing.most_bytes)
    read("secureconnect_user_send_buffer_max_bytes", "How many there may be of one user.", lambda: USER_BYTES)
    slow_readers = PatientProtocol.slow_readers
    read("secureconnect_response_buffer_bytes", "Bytes of answers that clients do not read.", lambda: slow_readers.held)
    read("secureconnect_response_buffer_max_bytes", "How many there may be.", lambda: RESPONSE_BYTES)
    read("secureconnect_response_buffer_cuts", "Connections cut because of them.", lambda: slow_readers.cut, counts=True)
    read("secureconnect_send_buffer_cuts", "Sockets cut because too much waited.", lambda: outgoing.cut, counts=True)


def show_bus(metrics: Metrics, bus: Bus) -> None:
    """What waits for other nodes, and what went wrong on the way."""
    shown: tuple[tuple[str, str, str, bool], ...] = (
        ("waiting", "waiting", "Entries published and not in the log yet.", False),
        ("lag_seconds", "lag", "For how long none of them got there, seconds.", False),
        ("published", "published", "Entries published.", True),
        ("refused", "refused", "Entries refused: too many waited.", True),
        ("failed_batches", "failed", "Batches that failed and were sent again.", True),
        ("disconnects", "lost", "Times the listening connection was lost.", True),
        ("gaps", "gaps", "Gaps in what was heard, filled from the log.", True),
        ("waiting_bytes", "waiting_bytes", "Bytes of the entries that wait.", False),
        ("waiting_max_bytes", "waiting_max_bytes", "How many may wait.", False),
        ("topics", "topics", "Topics that a bus of one process holds.", False),
        ("log_bytes", "log_bytes", "Bytes that their logs keep.", False),
        ("log_max_bytes", "log_max_bytes", "How many they may keep.", False),
        ("log_cuts", "cut", "Logs that were cut because all together kept too much.", True),
    )
    for name, field, words, counts in shown:
        metrics.read_when_asked(f"secureconnect_bus_{name}", words, _of(bus.figures, field), counts=counts)


def show_loops(metrics: Metrics) -> None:
    """How often background loops failed."""
    metrics.read_when_asked(
        "secureconnect_loop_failures",
        "Failures of background loops, which were started again.",
        lambda: {(loop,): float(count) for loop, count in loops.failures.items()},
        labels=("loop",),
        counts=True,
    )


def show_database(metrics: Metrics, database: Database) -> None:
    """Transactions, what they cost, and what stood in their way."""
    read = metrics.read_when_asked
    database.on_done = lambda kind, seconds: metrics.database_seconds.labels(kind).observe(seconds)
    read(
        "secureconnect_database_retries",
        "Transactions run again.",
        lambda: {(state,): float(database.retries[state]) for state in RETRYABLE},
        labels=("sqlstate",),
        counts=True,
    )
    read(
        "secureconnect_database_failures",
        "Transactions given up.",
        lambda: {(why,): float(database.failures[why]) for why in FAILURES},
        labels=("reason",),
        counts=True,
    )
    read("secureconnect_database_connections", "Connections in use.", lambda: database.connections[0])
    read("secureconnect_database_connections_max", "Connections there may be.", lambda: database.connections[1])


def show_limits(metrics: Metrics, limiter: RateLimiter) -> None:
    """How full the tables of rate limits are."""
    metrics.read_when_asked(
        "secureconnect_rate_limit_table_ratio",
        "How full the table of counters of a rate limit is, 0 to 1.",
        limiter.utilisation,
        labels=("limit",),
    )


def show_timers(metrics: Metrics, timers: Timers, clock: CorrectedClock) -> None:
    """The lease of this node, what it took over from others, and how far its clock is off."""
    read = metrics.read_when_asked

    def correction() -> float:
        return clock.correction.total_seconds()

    read(
        "secureconnect_clock_correction_seconds",
        "What is added to this machine's clock to have the database's time, seconds.",
        correction,
    )

    def until_lease_ends() -> float:
        return (timers.lease_until - clock.now()).total_seconds()

    read(
        "secureconnect_lease_seconds",
        "How long this node's lease still runs, seconds; below 0 others take it for lost.",
        until_lease_ends,
    )
    read("secureconnect_lease_late_renewals", "Renewals that came late.", lambda: timers.late_renewals, counts=True)
    read("secureconnect_lost_calls", "Calls of lost nodes taken up here.", lambda: timers.lost_calls, counts=True)


def show_everything_shared(metrics: Metrics, database: Database, clock: Clock) -> None:
    """Figures of all nodes together, the same at each: read from the database for each page, left out while it does not answer."""
    latest: Figures | None = None

    async def ask() -> None:
        nonlocal latest
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                latest = await database.read(lambda connection: figures(connection, clock.now()))
        except (ServiceError, TimeoutError):
            latest = None  # no figure rather than an old one

    def show(name: str, words: str, field: str, label: str | None = None) -> None:
        def read() -> Values:
            value = None if latest is None else attrgetter(field)(latest)
            return _by_word(value) if isinstance(value, Mapping) else value

        metrics.read_when_asked(f"secureconnect_{name}", words, read, labels=(label,) if label else ())

    metrics.ask_before_a_page(ask)
    show("calls", "Calls that are not over, of all nodes.", "calls", "status")
    show("calls_overdue_seconds", "How late the latest deadline of a call is, seconds.", "overdue")
    show("nodes", "Nodes with a lease.", "nodes")
    show("pushes_waiting", "Pushes that are not done, of all nodes.", "outbox", "provider")
    show("pushes_overdue_seconds", "How long the oldest due push has waited, seconds.", "outbox_overdue", "provider")
    show("webhooks_waiting", "Events that the application has not taken, of all nodes.", "webhooks")
    show("recordings_waiting", "Recordings whose film is still to be made, of all nodes.", "films")
    show(
        "webhooks_waiting_seconds", "How long the oldest event has waited for the application to take it, seconds.", "webhooks_age"
    )


def _by_word(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(word,): float(value) for word, value in values.items()}


def _of(figures_now: Callable[[], BusFigures], field: str) -> Callable[[], float]:
    return lambda: float(getattr(figures_now(), field))
