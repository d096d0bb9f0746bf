"""The SFU as services see it: a place for a call, a seat there for each session, and what happens to it. Values and protocols only.

`media.pool` keeps the SFUs and gives out places, `media.videoroom` is a seat at a Janus; `calls.at_sfu` is who uses them. Another
engine is another implementation of these; encrypted frames are to be a further verb of a `Seat`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from secureconnect.signaling.sfu_frames import Source


class SfuError(Exception):
    """What an SFU does not do; the message says why."""


class SfuLost(SfuError):
    """The SFU, or what a session had there, is gone."""


class BadDescription(SfuError):
    """A session description that the SFU cannot take."""


class Track(Struct, frozen=True):
    """What a session publishes in the section `mid` of its description."""

    mid: str
    source: Source


class Stream(Struct, frozen=True):
    """What a session receives in the section `mid`; not `active`: nothing any more, the section waits for another."""

    mid: str
    session_id: str
    user_id: str
    source: Source
    active: bool


class Feed(Struct, frozen=True):
    """A track to receive. `revision` tells a connection of its publisher from the one before it."""

    session_id: str
    mid: str
    revision: str


class Layer(Struct, frozen=True):
    """What to send in the section `mid`: simulcast layer 0 to 2, the smallest first, or None for nothing."""

    mid: str
    substream: int | None


class Room(Struct, frozen=True):
    """Where the media of a call is: at the SFU `sfu`, under `name`. `capacity` is how many may publish."""

    sfu: str
    name: str
    capacity: int


class Member(Struct, frozen=True):
    """Whose seat it is."""

    session_id: str
    user_id: str


class Handles(Struct, frozen=True):
    """What another node needs to take a seat over. `is_publishing`: the session has a connection by which it publishes."""

    session: int
    publisher: int
    subscriber: int | None
    is_publishing: bool


class Listener(Protocol):
    """Who is told what happens to a seat. Plain calls that must not raise."""

    def offered(self, sdp: str, streams: Sequence[Stream]) -> None:
        """The SFU offers what the session is to receive."""
        ...

    def published(self) -> None:
        """What the session publishes arrives: others may receive it."""
        ...

    def unpublished(self) -> None:
        """What the session published has ended by itself."""
        ...

    def stopped_receiving(self) -> None:
        """The connection by which the session receives has ended by itself."""
        ...

    def talking(self, is_talking: bool) -> None:
        """The session's microphone is loud enough for speech, or no longer."""
        ...

    def lost(self) -> None:
        """The seat is gone."""
        ...


class Seat(Protocol):
    """A session at an SFU. Verbs raise SfuLost when it is gone, SfuError when it is refused."""

    @property
    def handles(self) -> Handles: ...

    @property
    def feeds(self) -> frozenset[Feed]:
        """What it receives, or has been offered."""
        ...

    async def publish(self, sdp: str, tracks: Sequence[Track], *, anew: bool) -> str:
        """The answer to an offer. `anew`: of another connection than the last one. Raises BadDescription."""
        ...

    async def trickle(self, candidate: object, *, publishing: bool) -> None:
        """A candidate of the session's publishing connection, or of the one by which it receives; None ends them."""
        ...

    async def want(self, feeds: frozenset[Feed]) -> bool:
        """Receive these and no others. What changes is offered, now or once the offer before has been answered.

        False when some are not there: they may be about to come, or to be taken back.
        """
        ...

    async def answer(self, sdp: str) -> None:
        """The session's answer to what was offered. Raises BadDescription."""
        ...

    async def restart(self) -> str:
        """An offer that restarts ICE of the connection by which the session receives."""
        ...

    async def receive_anew(self) -> None:
        """Forget the connection by which the session received; the next `want` offers another."""
        ...

    async def choose(self, layers: Sequence[Layer]) -> None:
        """Send these layers from now on."""
        ...

    async def silence(self, mid: str, *, silent: bool) -> None:
        """Send nobody what the session publishes in this section, or send it again."""
        ...

    async def record(self, recording_id: str | None) -> None:
        """Write down what everybody in the room publishes, under this name; None: no longer. Again changes nothing."""
        ...

    async def leave(self) -> None:
        """Give the seat up, with all that it had."""
        ...

    def let_go(self) -> None:
        """Leave the seat to whoever takes it over."""
        ...


class Sfu(Protocol):
    """Every SFU there is."""

    @property
    def size(self) -> int:
        """How many there are, alive or not."""
        ...

    def place(self) -> str | None:
        """The name of the one that should take the next call, None when none can."""
        ...

    def placed(self, name: str) -> None:
        """A call has taken the place: it counts before anybody sits there."""
        ...

    def is_usable(self, name: str) -> bool:
        """Whether a call may stay there: it answers, and is not being emptied."""
        ...

    def is_draining(self, name: str) -> bool:
        """Whether it is to be emptied: it serves what it has until that is taken elsewhere."""
        ...

    def watch(self, on_change: Callable[[str], None]) -> None:
        """Tell `on_change` whenever an SFU came, went, or is to be emptied."""
        ...

    async def open(self, room: Room, who: Member, listener: Listener) -> Seat:
        """A new seat. Raises SfuLost, SfuError."""
        ...

    async def claim(self, room: Room, who: Member, handles: Handles, receiving: frozenset[Feed], listener: Listener) -> Seat:
        """A seat that another node had, where it received these. Raises SfuLost when it is gone."""
        ...
