"""Rate limits: the table of them, and the counting. Counts in this process, and with all nodes when the bus is shared.

Knows no requests and no Redis: the caller says what the key is, `parts` hands in what counts for all nodes. `api.limits` says which
route has which limit; docs/limits.md lists all of them.

A refused request counts nothing and costs less than an accepted one: this process looks first, and asks the other nodes only for
what it would allow itself. When they cannot be asked, this process counts alone with the same limits.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import structlog
from msgspec import Struct

from secureconnect.clock import Clock, unix_microseconds
from secureconnect.errors import RateLimited, Unavailable
from secureconnect.ops.networks import networks_of
from secureconnect.ops.window import ROUNDING, SlidingWindow

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0
"""How long shared counts that did not answer are left alone: a request should not wait for what the one before waited for."""
MAX_REMEMBERED = 4096
REMEMBERED_SECONDS = 5.0
"""How many refusals of the shared counts this process remembers, and how long at most."""
TEN_MINUTES = 600.0
LONGEST_WAIT = 86_400

Counted = Literal["user", "network", "pair", "person reached", "email and network", "email", "device", "application"]


class Limit(Struct, frozen=True):
    """At most `count` uses in `seconds` by each key.

    `by` is what the key is. `shared`: all nodes count together; else each node counts for itself, which costs no question.
    """

    count: int
    seconds: float = 60.0
    by: Counted = "user"
    shared: bool = False


LIMITS: Mapping[str, Limit] = {
    # Sign-in. Failures count, not successes.
    "login_network": Limit(60, by="network", shared=True),  # one password tried on many accounts
    "login_account": Limit(10, by="email and network", shared=True),  # one account's password guessed from one network
    "login_email": Limit(100, by="email", shared=True),  # the same from many networks; known devices and networks pass
    "login_device": Limit(10, by="device", shared=True),  # a device that has signed in to this account before
    "password": Limit(10, shared=True),  # guesses of the present password by a stolen sign-in
    "login_proof": Limit(60, by="network"),  # devices that requests name, looked up before the network is counted
    "register": Limit(60, by="network", shared=True),  # each costs a slow hash and a row
    "sign_in": Limit(600, by="network"),  # requests to sign in or register, before the database is asked
    "token": Limit(600, by="network"),  # refresh and sign-out; hundreds of clients may share an address
    # What reaches other people
    "call": Limit(120),  # requests that begin or change a call, whatever becomes of them
    "ring": Limit(10, shared=True),  # calls begun, and invitations
    "ring_one": Limit(20, TEN_MINUTES, by="pair", shared=True),  # the same person rung by the same caller
    "rung": Limit(60, TEN_MINUTES, by="person reached", shared=True),  # rings that reach one person, from all callers
    "message": Limit(120, shared=True),  # two a second is faster than a person types
    "conversation": Limit(30, shared=True),  # conversations begun, members added
    "added": Limit(60, TEN_MINUTES, by="person reached", shared=True),  # conversations that one person is put into, by all
    "rename": Limit(30),  # each change is sent to all members
    "recording": Limit(10, shared=True),  # each takes a folder, and a film has to be made
    # The rest of what a signed-in user may ask for
    "read": Limit(600),
    "search": Limit(120),
    "report": Limit(60),  # traces and readings of quality: many rows
    "change": Limit(300),  # small changes of one's own: read marks, devices
    "ice": Limit(60),  # each gives credentials for TURN
    "socket": Limit(120),  # handshakes
    # Without a user
    "page": Limit(12_000, by="network"),  # files of the web client: a load is some 70 of them
    "probe": Limit(600, by="network"),  # health and metrics
    "film": Limit(600, by="network"),  # ranges of recordings, by signed links
    "application": Limit(600, by="application"),
}


class Use(NamedTuple):
    """One use of the limit `name` by `key`, which may use `scale` times the limit."""

    name: str
    key: str
    scale: int = 1


def uses_by_network(name: str, address: str) -> list[Use]:
    """Return the uses of a limit by the client at an address: its network, and the wider ones that it is part of."""
    return [Use(name, network.key, network.scale) for network in networks_of(address)]


class Count(NamedTuple):
    """One use as shared counters take it: at most `limit` in `seconds` by `key`."""

    key: str
    limit: int
    seconds: float


class SharedCounts(Protocol):
    """What counts for all nodes."""

    async def hit(self, counts: Sequence[Count], now: float) -> tuple[int, float] | None:
        """Count all at `now` (Unix time, seconds) and return None; or count nothing.

        Then returns the index of the first that is one too many, and the seconds to wait. Raises Unavailable, soon.
        """
        ...

    async def take_back(self, counts: Sequence[Count], now: float) -> None:
        """Count one less for each. Raises Unavailable, soon."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


OnRefusal = Callable[[str], None]
OnUnshared = Callable[[], None]


class RateLimiter:
    """Counts uses of the limits by name and key; `enabled` unless a load test says otherwise.

    `on_refusal` receives the name of each limit that refused, `on_unshared` is called for each use that could not be counted with
    the other nodes.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Mapping[str, Limit] = LIMITS,
        enabled: bool = True,
        shared: SharedCounts | None = None,
        on_refusal: OnRefusal = lambda _: None,
        on_unshared: OnUnshared = lambda: None,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._windows = {name: SlidingWindow(limit.count, limit.seconds) for name, limit in limits.items()}
        self._enabled = enabled
        self._shared = shared
        self._on_refusal = on_refusal
        self._on_unshared = on_unshared
        self._away_until = -math.inf
        self._refused_until: dict[Use, float] = {}

    async def hit(self, name: str, key: str) -> None:
        """Count one use of the limit `name` by `key`. Raises RateLimited, with the seconds to wait, when it is one too many."""
        await self.hit_all([Use(name, key)])

    async def hit_all(self, uses: Iterable[Use]) -> None:
        """Count several uses as one step, or none of them.

        They are looked at in their order: name the one that is most likely to refuse first. Raises RateLimited for the first
        that is one too many; then nothing is counted.
        """
        if not self._enabled:
            return
        wanted = list(dict.fromkeys(uses))
        now = self._now()
        self._look(wanted, now)
        shared = [use for use in wanted if self._limits[use.name].shared]
        if self._shared is not None and shared and not await self._hit_shared(self._shared, shared):
            for _ in shared:
                self._on_unshared()
            self._look(wanted, now)  # others came while this one waited
        for use in wanted:
            self._windows[use.name].add(use.key, now)

    def hit_here(self, uses: Iterable[Use]) -> None:
        """Count uses of limits that each node has for itself. Does not wait. Raises RateLimited, as `hit_all` does."""
        if not self._enabled:
            return
        wanted = list(uses)
        now = self._now()
        self._look(wanted, now)
        for use in wanted:
            self._windows[use.name].add(use.key, now)

    async def take_back(self, uses: Iterable[Use]) -> None:
        """Count one less for each use: it turned out not to be what the limit is for."""
        if not self._enabled:
            return
        wanted = list(dict.fromkeys(uses))
        now = self._now()
        for use in wanted:
            self._windows[use.name].take_back(use.key, now)
            self._refused_until.pop(use, None)
        if self._shared is not None and self._clock.monotonic() >= self._away_until:
            try:
                await self._shared.take_back([self._count(use) for use in wanted if self._limits[use.name].shared], now)
            except Unavailable as failure:
                self._leave_alone(failure)

    def used(self, name: str, key: str) -> float:
        """Return the share of a limit that this node has counted for a key, 0 to 1."""
        return self._windows[name].used(key, self._now())

    def utilisation(self) -> dict[tuple[str, ...], float]:
        """Return how full the table of counters of each limit is, 0 to 1."""
        return {(name,): window.keys / window.max_keys for name, window in self._windows.items()}

    async def close(self) -> None:
        """Close what counts for all nodes."""
        if self._shared is not None:
            await self._shared.close()

    def _now(self) -> float:
        """Periods begin at the same moment on all nodes that count together."""
        return self._clock.monotonic() if self._shared is None else unix_microseconds(self._clock.now()) / 1_000_000

    def _look(self, uses: Sequence[Use], now: float) -> None:
        """Raise RateLimited for the first use that this process would refuse. Counts nothing."""
        for use in uses:
            wait = self._windows[use.name].wait(use.key, now, use.scale)
            if not wait and self._refused_until:
                wait = self._refused_until.get(use, 0.0) - self._clock.monotonic()
            if wait > 0:
                self._refuse(use.name, wait)

    async def _hit_shared(self, shared: SharedCounts, uses: Sequence[Use]) -> bool:
        """Count with all nodes; False when they cannot be asked. Raises RateLimited."""
        if self._clock.monotonic() < self._away_until:
            return False
        try:
            refusal = await shared.hit([self._count(use) for use in uses], self._now())
        except Unavailable as failure:
            self._leave_alone(failure)
            return False
        if refusal is not None:
            index, wait = refusal
            self._remember(uses[index], wait)
            self._refuse(uses[index].name, wait)
        return True

    def _remember(self, use: Use, wait: float) -> None:
        """What all nodes together refused is refused here for a while: a flood of refused requests asks nothing of them."""
        if len(self._refused_until) >= MAX_REMEMBERED:
            self._refused_until.clear()
        self._refused_until[use] = self._clock.monotonic() + min(wait, REMEMBERED_SECONDS)

    def _count(self, use: Use) -> Count:
        limit = self._limits[use.name]
        return Count(f"{use.name}:{use.key}", limit.count * use.scale, limit.seconds)

    def _leave_alone(self, failure: Unavailable) -> None:
        self._away_until = self._clock.monotonic() + PAUSE_SECONDS
        log.warning("limits are not shared", reason=failure.detail)

    def _refuse(self, name: str, wait: float) -> None:
        self._on_refusal(name)
        limit = self._limits[name]
        seconds = min(LONGEST_WAIT, max(1, math.ceil(wait - ROUNDING)))
        raise RateLimited(f"{_REASONS[limit.by]}: at most {limit.count} {_period(limit)}.", retry_after=seconds)


_REASONS: Mapping[Counted, str] = {
    "network": "Too many requests of this kind from your network",
    "person reached": "This person has been reached too often by others",
    "pair": "You have rung this person too often",
    "user": "Too many requests of this kind",
    "email": "Too many failed attempts to sign in to this account",
    "email and network": "Too many failed attempts to sign in to this account",
    "device": "Too many failed attempts to sign in to this account",
    "application": "Too many requests of this kind",
}


def _period(limit: Limit) -> str:
    minutes = limit.seconds / 60
    return "a minute" if minutes == 1 else f"in {minutes:g} minutes"
