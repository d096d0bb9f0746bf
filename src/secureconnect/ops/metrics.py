"""What this process measures, for Prometheus: one list. Counted where things happen, or read when somebody asks.

Hot paths keep plain numbers and know nothing of this; `secureconnect.instruments` says which numbers are read. Names and units are
Prometheus' own (https://prometheus.io/docs/practices/naming/): seconds, bytes, ratios, `_total` for what only grows. A label is a
word of ours out of a short list, never a person, a call or anything that a client may choose.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"

RELAY_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""From a relay in this process to one that waited for Redis to come back."""
STATEMENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
RING_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ANSWER_BUCKETS = (1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180)
"""Phones ring for 5 to 180 s, 45 unless told otherwise."""
CALL_BUCKETS = (5, 10, 30, 60, 180, 300, 600, 1800, 3600, 7200, 14400, 86400)
ROUND_TRIP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.8, 1.6)
LOSS_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.12, 0.25, 0.5)
SCORE_BUCKETS = (1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.5)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

Values = float | Mapping[tuple[str, ...], float] | None


class Metrics:
    """The registry and the metrics in it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._before_a_page: list[Callable[[], Awaitable[None]]] = []
        ProcessCollector(registry=self._registry)
        self.requests = self._counter("http_requests", "HTTP requests answered.", "method", "route", "status")
        self.request_seconds = self._histogram("http_request_seconds", "Time to answer an HTTP request, seconds.", None, "route")
        self.refusals = self._counter("socket_refusals", "Sockets refused before the upgrade.", "code")
        self.pushes = self._counter("pushes", "Attempts to push, by what came of them.", "provider", "outcome")
        self.webhooks = self._counter("webhooks", "Attempts to bring an event to the application, by what came of them.", "outcome")
        self.recordings = self._counter("recordings", "Attempts to make a film of a recording, by what came of them.", "outcome")
        self.rate_limited = self._counter("rate_limited", "Requests refused by a rate limit, by its name.", "limit")
        self.limits_not_shared = self._counter("limits_not_shared", "Uses of a rate limit that other nodes did not count.")

        self.calls_started = self._counter("calls_started", "Calls initiated here.", "call_type")
        self.calls_ended = self._counter("calls_ended", "Calls whose end was decided here.", "status", "reason")
        self.rings = self._counter("rings", "Rings that ended, one a person, by what became of them.", "outcome")
        self.ring_seconds = self._histogram(
            "ring_seconds", "From the ring to a device: socket written, or push accepted; seconds.", RING_BUCKETS, "channel"
        )
        self.answer_seconds = self._histogram("answer_seconds", "From initiate to the first answer, seconds.", ANSWER_BUCKETS)
        self.call_seconds = self._histogram("call_seconds", "From the first answer to the end, seconds.", CALL_BUCKETS)
        self.relay_seconds = self._histogram(
            "relay_seconds", "From a signaling frame's arrival to its delivery by the bus, one in 16; seconds.", RELAY_BUCKETS
        )
        self.database_seconds = self._histogram(
            "database_transaction_seconds", "Transactions, retries included, seconds.", STATEMENT_BUCKETS, "kind"
        )
        self.timer_lateness = self._histogram("timer_lateness_seconds", "How late deadlines of calls fired, seconds.", RING_BUCKETS)
        self.reported_round_trip = self._histogram(
            "reported_round_trip_seconds", "Round trips that sessions reported, seconds.", ROUND_TRIP_BUCKETS
        )
        self.reported_loss = self._histogram(
            "reported_loss_ratio", "Shares of packets lost that sessions reported, 0 to 1.", LOSS_BUCKETS
        )
        self.opinion_score = self._histogram(
            "opinion_score", "Mean opinion scores estimated from what sessions reported, 1 to 4.5.", SCORE_BUCKETS
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop woke who had slept, seconds.", LAG_BUCKETS
        )

    def note_report(self, rtt_ms: float | None, loss: float | None, mos: float | None) -> None:
        """What one session said of its own connection; None for what it did not say."""
        if rtt_ms is not None:
            self.reported_round_trip.observe(rtt_ms / 1000)
        if loss is not None:
            self.reported_loss.observe(loss)
        if mos is not None:
            self.opinion_score.observe(mos)

    def read_when_asked(
        self, name: str, documentation: str, read: Callable[[], Values], *, labels: Sequence[str] = (), counts: bool = False
    ) -> None:
        """A figure that exists anyway: hot paths keep a plain number, read when somebody asks.

        With `labels`, `read` gives a number for each row of their values; None when there is nothing to tell. `counts`: it only
        grows.
        """
        self._registry.register(_Reading(name, documentation, read, labels=labels, counts=counts))

    def ask_before_a_page(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Something that must be asked for, so that readings have an answer to read. It bounds its own time and does not raise."""
        self._before_a_page.append(ask)

    async def page(self) -> bytes:
        """What `/metrics` answers: everything, the shared figures of this moment included."""
        await asyncio.gather(*(ask() for ask in self._before_a_page))
        return self.exposition()

    def exposition(self) -> bytes:
        """Prometheus text format, as things stand."""
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"secureconnect_{name}", documentation, labels, registry=self._registry)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float] | None, *labels: str) -> Histogram:
        chosen = Histogram.DEFAULT_BUCKETS if buckets is None else buckets
        return Histogram(f"secureconnect_{name}", documentation, labels, buckets=chosen, registry=self._registry)


class _Reading(Collector):
    def __init__(self, name: str, documentation: str, read: Callable[[], Values], *, labels: Sequence[str], counts: bool) -> None:
        self._name = name
        self._documentation = documentation
        self._read = read
        self._labels = labels
        self._family = CounterMetricFamily if counts else GaugeMetricFamily

    def describe(self) -> Iterator[Metric]:
        """Its name, for the registry: nothing need be read to know it."""
        yield self._family(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        family = self._family(self._name, self._documentation, labels=self._labels)
        values = self._read()
        rows = {} if values is None else values if isinstance(values, Mapping) else {(): values}
        for label_values, value in rows.items():
            family.add_metric(label_values, value)
        yield family
