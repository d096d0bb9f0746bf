"""The rate limiter under these settings. Made by parts."""

from msgspec.structs import replace

from secureconnect.bus import open_counts
from secureconnect.clock import Clock
from secureconnect.config import Settings
from secureconnect.ops.metrics import Metrics
from secureconnect.ops.ratelimit import LIMITS, RateLimiter


def make_limiter(settings: Settings, clock: Clock, metrics: Metrics) -> RateLimiter:
    """Make the limiter of a process; it counts with other nodes when the bus is shared."""
    rings = {"ring": settings.rings_per_minute, "ring_one": settings.rings_of_one}
    return RateLimiter(
        clock=clock,
        limits={**LIMITS, **{name: replace(LIMITS[name], count=count) for name, count in rings.items()}},
        enabled=settings.rate_limits == "on",
        shared=open_counts(settings.bus_url),
        on_refusal=lambda name: metrics.rate_limited.labels(name).inc(),
        on_unshared=metrics.limits_not_shared.inc,
    )
