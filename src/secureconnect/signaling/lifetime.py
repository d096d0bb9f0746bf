"""How long sockets stay open: no longer than their access token counts. Used by `signaling.socket` and both kinds of sockets.

A socket belongs to the token that opened it, or to the one that an `auth` frame brought since. It closes when that token expires
and when what it stands for is revoked. No socket has a timer of its own; see `Lifetimes.sweep`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol
from uuid import UUID

import structlog
from msgspec import UNSET
from msgspec.structs import replace

from secureconnect.accounts.grant import Grant
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import Principal
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.errors import RateLimited, ServiceError
from secureconnect.ids import UserId, short
from secureconnect.signaling.hub import Channel
from secureconnect.signaling.protocol import Authenticated, ErrorFrame, IceServer, encode
from secureconnect.signaling.upgrade import Attachment

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 0.5
"""How often sockets are looked for whose token has expired: each closes within a second of that."""
AHEAD_SECONDS = 10.0
"""How often all sockets are looked through for those whose token expires so soon; in between, only these are looked at."""
GATHER_SECONDS = 0.1
"""How long revocations are gathered before sockets are looked through for all of them at once."""
CLOSE_WRONG_USER = 1008
CLOSE_REVOKED = 4003
CLOSE_EXPIRED = 4004
REVOKED = "this sign-in has ended"

Authenticate = Callable[[str], Awaitable[Principal]]
IceServers = Callable[[Grant], list[IceServer]]


class Bearer(Protocol):
    """What has the grant of a socket."""

    @property
    def grant(self) -> Grant:
        """What its access token allows."""
        ...


class Holder(Protocol):
    """What keeps the grant of a socket."""

    grant: Grant


class OpenSocket(Channel, Protocol):
    """A socket, with what it carries."""

    attachment: Attachment


class Lifetimes:
    """When the sockets of this node close by themselves, and how their tokens are renewed."""

    def __init__(
        self,
        *,
        revocations: Revocations,
        authenticate: Authenticate,
        unix_time: Callable[[], float],
        spawn: Callable[[Awaitable[None]], None],
    ) -> None:
        """Args:
        revocations: knows what was revoked, and tells when more is.
        authenticate: verifies an access token; raises Unauthenticated, Unavailable.
        unix_time: the time of day, seconds since 1970.
        spawn: runs something beside everything else.
        """
        self._revocations = revocations
        self._authenticate = authenticate
        self._unix_time = unix_time
        self._spawn = spawn
        self._open: Collection[OpenSocket] = ()
        self._horizon = 0.0
        self._soon: list[tuple[Bearer, Channel]] = []
        self._sign_ins: set[int] = set()
        self._users: set[int] = set()
        self._renewing: set[int] = set()
        revocations.listen(self._gather)

    def watch(self, connections: Collection[OpenSocket]) -> None:
        """These are the open sockets, now and later."""
        self._open = connections

    async def authenticate(self, token: str) -> Grant:
        """Verify the token of a socket that is to open, or of one that is open. Raises Unauthenticated, Unavailable."""
        grant = (await self._authenticate(token)).grant
        if grant.expires_at > self._unix_time():
            return grant
        # Accepted after its end, because clocks differ: so much longer the socket may stay.
        return replace(grant, expires_at=grant.expires_at + LEEWAY_SECONDS)

    def seconds_left(self, grant: Grant) -> int:
        """How long the token is still good, in whole seconds: a duration, since clients' clocks may be wrong."""
        return max(0, int(grant.expires_at - self._unix_time()))

    def end_if_over(self, connection: OpenSocket) -> bool:
        """Close a socket that opens just now if its token was revoked, or expired, while it did."""
        grant = connection.attachment.grant
        if self._revocations.is_revoked(grant):
            self._end_revoked(connection)
        elif grant.expires_at <= self._unix_time():
            self._end_expired(connection)
        else:
            self._note(connection.attachment, connection)
            return False
        return True

    # Renewing

    def renew(
        self, holder: Holder, channel: Channel, token: str, ref: str | None, *, ice_servers: IceServers | None = None
    ) -> None:
        """An open socket shows a new token. One at a time: each costs the check of a signature.

        Args:
            holder: what keeps the socket's grant.
            channel: the socket, for the answer.
            token: the access token.
            ref: what the client calls its frame.
            ice_servers: makes ICE servers with new credentials for the answer.
        """
        if id(holder) in self._renewing:
            refusal = RateLimited("One auth frame at a time: wait for the answer to the last one.")
            channel.send(encode(ErrorFrame(refusal.code, refusal.detail, ref)))
            return
        self._renewing.add(id(holder))
        self._spawn(self._renew(holder, channel, token, ref, ice_servers))

    async def _renew(self, holder: Holder, channel: Channel, token: str, ref: str | None, ice_servers: IceServers | None) -> None:
        try:
            grant = await self.authenticate(token)
        except ServiceError as refusal:
            # The token it has is still good, or the socket would be closed.
            channel.send(encode(ErrorFrame(refusal.code, refusal.detail, ref)))
            return
        finally:
            self._renewing.discard(id(holder))
        if grant.user_id != holder.grant.user_id:
            channel.send(encode(ErrorFrame("forbidden", "This socket is another user's: open one of your own.", ref)))
            channel.close(CLOSE_WRONG_USER, "the token of another user")
            return
        holder.grant = grant
        self._note(holder, channel)
        servers = UNSET if ice_servers is None else ice_servers(grant)
        channel.send(encode(Authenticated(self.seconds_left(grant), ref, servers)))

    # Ending

    async def run(self) -> None:
        """Until cancelled: close the sockets whose token has expired."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Close the sockets whose token has expired by now."""
        now = self._unix_time()
        if now >= self._horizon:
            self._horizon = horizon = now + AHEAD_SECONDS
            self._soon = [(each.attachment, each) for each in self._open if each.attachment.grant.expires_at <= horizon]
        due = [channel for bearer, channel in self._soon if bearer.grant.expires_at <= now]
        if due:
            self._soon = [(bearer, channel) for bearer, channel in self._soon if bearer.grant.expires_at > now]
        for channel in due:
            self._end_expired(channel)

    def _note(self, bearer: Bearer, channel: Channel) -> None:
        """A socket has a new grant: it may expire before all are looked through again."""
        if bearer.grant.expires_at <= self._horizon:
            self._soon.append((bearer, channel))

    def _gather(self, sign_ins: Collection[UUID], users: Collection[UserId]) -> None:
        """More was revoked; see `Revocations.listen`."""
        if not self._sign_ins and not self._users:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.sweep_revoked)
        self._sign_ins.update(sign_in.int for sign_in in sign_ins)
        self._users.update(user_id.int for user_id in users)

    def sweep_revoked(self) -> None:
        """Close the sockets that what was revoked lately concerns."""
        sign_ins, users = self._sign_ins, self._users
        self._sign_ins, self._users = set(), set()

        # By number: a UUID's own hash takes five times as long, and this looks at every socket.
        def may_concern(grant: Grant) -> bool:
            return grant.user_id.int in users or (grant.sign_in is not None and grant.sign_in.int in sign_ins)

        for connection in [each for each in self._open if may_concern(each.attachment.grant)]:
            if self._revocations.is_revoked(connection.attachment.grant):
                self._end_revoked(connection)

    def _end_revoked(self, connection: OpenSocket) -> None:
        log.info("socket revoked", user=short(connection.attachment.grant.user_id))
        connection.attachment.revoked()
        connection.close(CLOSE_REVOKED, REVOKED)

    def _end_expired(self, connection: Channel) -> None:
        connection.close(CLOSE_EXPIRED, "the access token has expired")
