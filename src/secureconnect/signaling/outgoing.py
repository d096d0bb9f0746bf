"""How many bytes wait for clients that do not read: of each socket, each user, and this process. Pure bookkeeping.

A socket whose client reads is not counted here: what the transport holds of it stays below its own mark (`WRITE_HIGH_WATER_BYTES`).
"""

from typing import Protocol

from secureconnect.ids import UserId

USER_BYTES = 8 * 1024 * 1024
"""All sockets of one user at this node together; one socket alone may hold `signaling.protocol.CONNECTION_BYTES`."""

CLOSE_POLICY = 1008
"""RFC 6455, section 7.4.1: clients of 0.1 come back after ten seconds, so that two tabs do not take turns without end."""


class Slow(Protocol):
    """A socket that may have something waiting."""

    held: int
    """Bytes that wait, as they were counted."""
    owner: "Owner"

    @property
    def kind(self) -> str:
        """`signaling` or `events`."""
        ...

    @property
    def is_closing(self) -> bool:
        """Whether it has been asked to close."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close behind what was sent."""
        ...

    def abort(self, reason: str) -> None:
        """Cut the connection and let go of what waits. Calls `Outgoing.release`."""
        ...


class Owner:
    """The sockets of one user at this node, the oldest first, and the bytes that wait in them."""

    __slots__ = ("held", "sockets")

    def __init__(self) -> None:
        self.sockets: list[Slow] = []
        self.held = 0


class Outgoing:
    """The sockets of this process by user, and what waits in them.

    Args:
        sockets_per_user: sockets that one user may hold here; the oldest is closed for one more.
        total: bytes that may wait in all sockets together; those that hold most are cut.
    """

    def __init__(self, *, sockets_per_user: int, total: int) -> None:
        self.sockets_per_user = sockets_per_user
        self.total = total
        self.held = 0
        self.cut = 0
        """Sockets cut since the start because their user, or the process, held too much."""
        self.closed_for_newer = 0
        """Sockets closed since the start because their user opened more than allowed."""
        self._owners: dict[UserId, Owner] = {}
        self._slow: set[Slow] = set()

    def owner_of(self, user_id: UserId) -> Owner:
        """The owner that a new socket of this user names; `add` keeps it."""
        return self._owners.get(user_id) or Owner()

    def add(self, user_id: UserId, socket: Slow) -> None:
        """A socket has opened."""
        owner = self._owners.setdefault(user_id, socket.owner)
        socket.owner = owner
        owner.sockets.append(socket)

    def limit_sockets(self, owner: Owner) -> None:
        """Close the oldest sockets of a user who has too many, events sockets before those of calls, never the newest."""
        open_now = [socket for socket in owner.sockets if not socket.is_closing]
        beyond = len(open_now) - self.sockets_per_user
        if beyond > 0:
            self.closed_for_newer += beyond
            for socket in sorted(open_now[:-1], key=_is_signaling)[:beyond]:
                socket.close(CLOSE_POLICY, "too many sockets of this user")
        # A goodbye takes time, and a client that opens sockets without end would have as many that wait for theirs.
        closing = [socket for socket in owner.sockets if socket.is_closing]
        for socket in closing[: max(0, len(closing) - self.sockets_per_user)]:
            socket.abort("too many sockets of this user")

    def remove(self, user_id: UserId, socket: Slow) -> None:
        """A socket is gone."""
        self.release(socket)
        owner = socket.owner
        owner.sockets.remove(socket)
        if not owner.sockets:
            self._owners.pop(user_id, None)

    def hold(self, socket: Slow, size: int) -> None:
        """`size` more bytes wait in this socket. Cuts the sockets that hold most when a limit is passed."""
        self._slow.add(socket)
        socket.held += size
        socket.owner.held += size
        self.held += size
        if socket.owner.held > USER_BYTES:
            self._cut(max(socket.owner.sockets, key=_held), "too much waited for this user")
        elif self.held > self.total:
            self._cut(max(self._slow, key=_held), "too much waited in this process")

    def release(self, socket: Slow) -> None:
        """Nothing waits in this socket any more."""
        size, socket.held = socket.held, 0
        socket.owner.held -= size
        self.held -= size
        self._slow.discard(socket)

    @property
    def users(self) -> int:
        """How many users have a socket here."""
        return len(self._owners)

    @property
    def most_sockets(self) -> int:
        """Sockets of the user who has most."""
        return max((len(owner.sockets) for owner in self._owners.values()), default=0)

    @property
    def most_bytes(self) -> int:
        """Bytes that wait for the user for whom most wait."""
        return max((owner.held for owner in self._owners.values()), default=0)

    def _cut(self, socket: Slow, reason: str) -> None:
        self.cut += 1
        socket.abort(reason)


def _is_signaling(socket: Slow) -> bool:
    return socket.kind == "signaling"


def _held(socket: Slow) -> int:
    return socket.held
