"""What the kernel knows of a process: its CPU time, its memory, its cores. Linux alone tells; elsewhere there is nothing to read.

Called by the runs and by bench/.
"""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Process:
    """A running process of this machine, its own or another's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._folder = Path("/proc") / str(pid)
        self._tick = 1 / os.sysconf("SC_CLK_TCK")

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The process, or None where /proc does not show it."""
        return cls(pid) if (Path("/proc") / str(pid) / "stat").is_file() else None

    def cpu_seconds(self) -> float:
        """User and system time of all its threads since it began (proc(5), stat fields 14 and 15)."""
        # The name in parentheses may hold spaces, so count from its end.
        fields = (self._folder / "stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) * self._tick

    def memory_bytes(self) -> int:
        """Proportional set size: pages shared with others count by share, so that a fork or a library is not counted twice."""
        for line in (self._folder / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise LookupError("the kernel shows no Pss")


def busy_seconds() -> float:
    """What all cores of this machine have worked since it began: for telling how much of it was neither server nor driver."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
    ticks = [int(field) for field in stat.read_bytes().split(b"\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[set[int], set[int]] | None:
    """Core sets for server and driver, or None where they cannot be kept apart."""
    if sys.platform != "linux":
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return ({allowed[0]}, {allowed[1]}) if len(allowed) > 1 else None


@contextmanager
def running_on(chosen: set[int] | None) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on these cores; None changes nothing."""
    if chosen is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit on open files towards `wanted`; children started later inherit it. The limit reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = max(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return target
