"""What a round of chaos came to, as values: written by the crowd, read by the conductor and the report."""

from msgspec import Struct, field


class Round(Struct):
    """One disturbance, once. Seconds throughout; counts over everybody."""

    disturbance: str
    seconds: float = 0.0
    """From before the disturbance until everybody was heard again, or given up."""
    said: int = 0
    lost: int = 0
    repeated: int = 0
    overtaken: int = 0
    void: int = 0
    refused: int = 0
    events: int = 0
    """Messages in conversations and rings whose writing was answered."""
    events_lost: int = 0
    """Those of which an events socket was never told."""
    broken: int = 0
    """Sockets that came back, of both kinds."""
    resumed: int = 0
    """Those that came back to where they were."""
    leaves: int = 0
    """Times that somebody was told that another had left who had not."""
    stuck: int = 0
    """Calls in which somebody was not heard again, or that nobody is in and that do not end."""
    stale: int = 0
    """People whose picture of the call stays other than what it is."""
    calls: int = 0
    """Calls that were begun, answered and ended meanwhile."""
    calls_refused: int = 0
    """Calls that were given up meanwhile because of an answer that said so (503, or the call ended for want of sockets)."""
    silence_max: float = 0.0
    silence_median: float = 0.0
    faults: list[str] = field(default_factory=list)
    """Words on whatever went wrong, for whoever looks into it."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing happened that must not."""
        wrong = self.lost + self.repeated + self.overtaken + self.events_lost + self.leaves + self.stuck + self.stale
        return wrong == 0 and not self.faults


class Options(Struct, frozen=True):
    """What a crowd is told at its start."""

    url: str
    certificate: str
    secret: str
    calls: int
    callers: int
    """Pairs who begin, answer and end calls all the time, besides those who talk."""
    pause: float
    """Seconds between two numbers of one speaker."""
    patience: float
    """Seconds to wait for everybody to be heard again."""
