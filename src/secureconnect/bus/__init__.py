"""The bus: ordered logs by topic, shared by all nodes. Services and hubs see this protocol; only `open_bus` knows the kinds.

A topic is `call:<id>` or `user:<id>`. It is a log (every entry takes the topic's next seq), a doorbell (subscribers hear of each)
and a small retained state that changes in the same step as the log, so that a snapshot and the entries after it always fit.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from secureconnect.clock import Clock

if TYPE_CHECKING:
    from secureconnect.bus.redis import RedisCounts


class Entry(Struct, frozen=True, gc=False):
    """One event of a topic. Logs hold a hundred thousand; they refer to nothing that the garbage collector would have to walk.

    `body` is a JSON object without its seq, `sender` and `target` are session or user ids; an empty target means everybody.
    """

    seq: int
    sender: str
    target: str
    body: bytes


class Backlog(NamedTuple):
    """What a topic holds at one moment.

    `head` is the last seq given. `entries` are all entries after the seq asked for, None when some of them are gone. `kept` are
    those that the log still has, whether or not some are gone.
    """

    head: int
    entries: list[Entry] | None
    retained: dict[str, bytes]
    kept: list[Entry]


class BusFigures(Struct, frozen=True):
    """How a bus does: `waiting` entries are published and not in the log yet; for `lag` seconds none of them got there.

    The rest counts since the start: entries `published`, and `refused` because too many waited; batches that `failed` and were sent
    again; times the listening connection was `lost`; `gaps` in what was heard, read from the log; logs `cut` for want of room.

    Of the bus of one process also: `topics`, and the bytes that their logs keep and may keep. Redis knows those of its own.
    """

    waiting: int = 0
    lag: float = 0.0
    published: int = 0
    refused: int = 0
    failed: int = 0
    lost: int = 0
    gaps: int = 0
    cut: int = 0
    topics: int = 0
    log_bytes: int = 0
    log_max_bytes: int = 0
    waiting_bytes: int = 0
    waiting_max_bytes: int = 0


Deliver = Callable[[Entry], None]
Acknowledge = Callable[[int], None]


class Bus(Protocol):
    """What every bus promises; `tests/contract/test_bus.py` holds each kind to it."""

    def publish(
        self,
        topic: str,
        body: bytes,
        *,
        sender: str = "",
        target: str = "",
        retain: tuple[str, bytes | None] | None = None,
        acknowledge: Acknowledge | None = None,
    ) -> bool:
        """Append to the topic. What one caller publishes keeps its order.

        `retain` sets (or, with None, removes) one key of the topic's retained state in the same step. `acknowledge` gets the seq.
        Never waits: a hot path calls it. False when other nodes are out of reach and no more may wait for
        them: then nothing was published.
        """
        ...

    async def subscribe(self, topic: str, deliver: Deliver) -> None:
        """From now on `deliver` gets every entry of the topic, each once, in order. One subscription a topic; it must not raise."""
        ...

    async def unsubscribe(self, topic: str) -> None:
        """Deliver no more of this topic."""
        ...

    def position(self, topic: str) -> int:
        """The last seq that the subscription of this topic has delivered, or began behind. 0 if the topic was empty then."""
        ...

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        """The head, the entries after `after` if the log still reaches back that far, and the retained state, all of one moment."""
        ...

    async def run(self) -> None:
        """Until cancelled: whatever it takes to carry entries between nodes. Nothing is heard before it runs."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable when other nodes cannot be reached."""
        ...

    async def flush(self) -> None:
        """Return when everything that was published is in the log, however long that takes. Needs `run`."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    def figures(self) -> BusFigures:
        """How it does, from this node's side."""
        ...


def call_topic(call_id: object) -> str:
    return f"call:{call_id}"


def user_topic(user_id: object) -> str:
    return f"user:{user_id}"


def open_bus(url: str, clock: Clock, node: str, log_bytes: int = 32 * 1024 * 1024) -> Bus:
    """Make the bus that a URL names.

    Args:
        url: `memory://` or one of Redis.
        clock: the time of this node.
        node: this node's name, unique among all.
        log_bytes: what all logs of a `memory://` bus may keep; Redis has a setting of its own, `maxmemory`.

    Raises:
        ValueError: there is no bus for this scheme.
    """
    from secureconnect.bus.memory import MemoryBus  # noqa: PLC0415  (the kinds import this module)
    from secureconnect.bus.redis import RedisBus  # noqa: PLC0415

    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryBus(clock, log_bytes)
    if scheme.partition("+")[0] in ("redis", "rediss"):
        return RedisBus(url, clock, node)
    raise ValueError(f"there is no bus for {scheme}://")


def open_counts(url: str) -> "RedisCounts | None":
    """Who counts for all nodes on the bus of this URL; None when there are no others."""
    from secureconnect.bus.redis import RedisCounts  # noqa: PLC0415

    return None if urlsplit(url).scheme == "memory" else RedisCounts(url)
