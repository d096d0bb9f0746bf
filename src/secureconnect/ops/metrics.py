"""What this process measures, for Prometheus: one list. Counted where things happen, or read when somebody asks."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class Metrics:
    """The registry and the metrics in it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "secureconnect_http_requests", "HTTP requests answered.", ["method", "status"], registry=self._registry
        )
        self.request_seconds = Histogram(
            "secureconnect_http_request_seconds", "Time to answer an HTTP request, seconds.", registry=self._registry
        )
        self.refusals = Counter(
            "secureconnect_socket_refusals", "Sockets refused before the upgrade.", ["code"], registry=self._registry
        )
        self.pushes = Counter(
            "secureconnect_pushes", "Attempts to push, by what came of them.", ["provider", "outcome"], registry=self._registry
        )

        self.reported_round_trip = Histogram(
            "secureconnect_reported_round_trip_seconds",
            "Round trips that sessions reported, seconds.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.8, 1.6),
            registry=self._registry,
        )
        self.reported_loss = Histogram(
            "secureconnect_reported_loss_ratio",
            "Shares of packets lost that sessions reported, 0 to 1.",
            buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.12, 0.25, 0.5),
            registry=self._registry,
        )
        self.opinion_score = Histogram(
            "secureconnect_opinion_score",
            "Mean opinion scores estimated from what sessions reported, 1 to 4.5.",
            buckets=(1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.5),
            registry=self._registry,
        )

    def note_report(self, rtt_ms: float | None, loss: float | None, mos: float | None) -> None:
        """What one session said of its own connection; None for what it did not say."""
        if rtt_ms is not None:
            self.reported_round_trip.observe(rtt_ms / 1000)
        if loss is not None:
            self.reported_loss.observe(loss)
        if mos is not None:
            self.opinion_score.observe(mos)

    def read_when_asked(self, name: str, documentation: str, read: Callable[[], float], *, counts: bool = False) -> None:
        """A figure that exists anyway: hot paths keep a plain number, read when somebody asks. `counts`: it only grows."""
        self._registry.register(_Reading(name, documentation, read, counts=counts))

    def exposition(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)


class _Reading(Collector):
    def __init__(self, name: str, documentation: str, read: Callable[[], float], *, counts: bool) -> None:
        self._name = name
        self._documentation = documentation
        self._read = read
        self._family = CounterMetricFamily if counts else GaugeMetricFamily

    def collect(self) -> Iterator[Metric]:
        yield self._family(self._name, self._documentation, value=self._read())
