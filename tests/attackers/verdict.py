"""What an attack came to, and what is wrong with that. Pure."""

from statistics import median

from msgspec import Struct, field

MAX_GROWTH_MIB = 64
SLOWER = 2.0
"""Times the median without the attack."""
NOISE_SECONDS = 0.02
"""What a shared machine adds to a median of a few milliseconds."""


class Latencies(Struct):
    """How long each kind of operation of other users took, seconds, and what was refused."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def note(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)

    def median(self, kind: str) -> float:
        return median(self.seconds[kind])


class Result(Struct, kw_only=True):
    """One attack: memory in MiB before and at its highest, by process, and the latencies of others before and during it."""

    name: str
    seconds: float
    did: str
    memory_before: dict[str, float]
    memory_peak: dict[str, float]
    calm: Latencies
    during: Latencies

    @property
    def growth(self) -> dict[str, float]:
        return {name: self.memory_peak[name] - before for name, before in self.memory_before.items()}

    def faults(self, *, check_latencies: bool = True) -> list[str]:
        """What is wrong; nothing when the attack came to nothing."""
        found = [f"{name} grew by {mib:.0f} MiB" for name, mib in self.growth.items() if mib >= MAX_GROWTH_MIB]
        found += [f"refused: {words}" for words in sorted(set(self.during.refused))]
        for kind in self.calm.seconds:
            if kind not in self.during.seconds:
                found.append(f"no {kind} was answered")
            elif check_latencies and self.during.median(kind) > max(
                SLOWER * self.calm.median(kind), self.calm.median(kind) + NOISE_SECONDS
            ):
                found.append(f"{kind} took {1000 * self.during.median(kind):.0f} ms, {1000 * self.calm.median(kind):.0f} before")
        return found


def table(results: list[Result]) -> str:
    """One line an attack, as text."""
    lines = []
    for result in results:
        grown = ", ".join(f"{name} {result.memory_before[name]:.0f} {mib:+.0f} MiB" for name, mib in result.growth.items())
        kinds = ", ".join(
            f"{kind} {1000 * result.calm.median(kind):.0f} -> {1000 * result.during.median(kind):.0f} ms"
            for kind in result.calm.seconds
            if kind in result.during.seconds
        )
        verdict = "; ".join(result.faults()) or "ok"
        lines.append(f"{result.name} ({result.seconds:.0f} s; {result.did}): {grown}; {kinds}: {verdict}")
    return "\n".join(lines)
