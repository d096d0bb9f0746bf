"""Revoked sign-ins and users, kept in memory by each node: asked at each request and for each open socket.

The database has the truth. The bus tells the other nodes at once; each node also reads again for what it did not hear.
Access tokens are stored nowhere, so what is revoked is a sign-in (`sid`), all tokens of a user before a moment, or the user.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from msgspec import DecodeError, Struct, json
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.grant import Grant
from secureconnect.bus import Bus, Entry
from secureconnect.clock import Clock
from secureconnect.errors import AccountDisabled, ServiceError, Unauthenticated, UnknownUser
from secureconnect.ids import UserId
from secureconnect.store import Database
from secureconnect.store import revocations as store
from secureconnect.store.revocations import NotBefore

log = structlog.get_logger(__name__)

SIGN_INS_TOPIC = "sign-ins:ended"
"""Carries lists of UUIDs and nothing else: nodes of version 0.1 listen to it, too."""
USERS_TOPIC = "revocations:users"
READ_AGAIN_SECONDS = 5.0
READ_AGAIN_ALONE_SECONDS = 0.5
"""The same for a process whose bus no one shares: a command of the operator can tell it in no other way."""
READ_ALL_SECONDS = 60.0
"""How often everything is read, so that what no longer matters is forgotten and a user who was enabled is let in."""
RETRY_SECONDS = 1.0
OVERLAP = timedelta(minutes=1)
"""A transaction may commit so long after the moment it wrote down, and clocks of nodes differ."""

Listener = Callable[[Collection[UUID], Collection[UserId]], None]
"""Hears which sign-ins and which users were revoked just now. Must not wait and must not raise."""


class UserRevoked(Struct, frozen=True):
    """What nodes tell each other of a user. A field that is None says nothing; nodes ignore fields they do not know."""

    user_id: UserId
    before: datetime | None = None
    kept: UUID | None = None
    disabled: bool | None = None


_sign_ins, _user = json.Decoder(list[UUID]), json.Decoder(UserRevoked)


class Revocations:
    """Which tokens are refused although they have not expired.

    Each change is made in the database first, then announced. A service that changes the database in a transaction of its own
    (`store.revocations`, `store.accounts.revoke_family`) calls `announce_sign_ins` or `announce_user` after the commit; the others
    call `revoke_user`, `disable_user` or `enable_user`. Sockets, sessions and requests end within a second on every node.
    """

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        clock: Clock,
        lifetime: timedelta,
        read_again: float = READ_AGAIN_SECONDS,
        stamp: Callable[[], object] = lambda: None,
    ) -> None:
        """Args:
        database: where revocations are kept.
        bus: tells the other nodes.
        clock: the time of day.
        lifetime: the longest that an access token is accepted. What was revoked before that is forgotten.
        read_again: seconds between two readings.
        stamp: gives a value that changes when the database does, so that no reading is made in vain; None when nothing is known.
        """
        self._database = database
        self._bus = bus
        self._clock = clock
        self._remembered = lifetime + OVERLAP
        self._read_again = read_again
        self._stamp = stamp
        self._sign_ins: set[UUID] = set()
        self._not_before: dict[UserId, NotBefore] = {}
        self._disabled: set[UserId] = set()
        self._read_at: datetime | None = None
        self._listeners: list[Listener] = []

    # Asking

    def check(self, grant: Grant) -> None:
        """Raises Unauthenticated if what this token allowed was revoked, AccountDisabled if the user is disabled."""
        if self._disabled and grant.user_id in self._disabled:
            raise AccountDisabled
        if grant.sign_in in self._sign_ins:
            raise Unauthenticated("This sign-in has ended: sign in again.")
        not_before = self._not_before.get(grant.user_id) if self._not_before else None
        if not_before is not None and _is_before(grant, not_before):
            raise Unauthenticated("This access token was revoked: sign in again.")

    def is_revoked(self, grant: Grant) -> bool:
        """The same as `check`, as an answer."""
        try:
            self.check(grant)
        except Unauthenticated:
            return True
        return False

    def check_enabled(self, user_id: UserId) -> None:
        """Raises AccountDisabled if the user is disabled: for sign-in and refresh, where there is no access token yet."""
        if user_id in self._disabled:
            raise AccountDisabled

    def listen(self, listener: Listener) -> None:
        """Call this after each revocation that this node makes, hears or reads."""
        self._listeners.append(listener)

    # Revoking

    async def revoke_user(self, user_id: UserId, before: datetime | None = None, *, kept: UUID | None = None) -> None:
        """End all sign-ins of a user and refuse all tokens issued before a moment, on every node.

        Args:
            user_id: the user.
            before: the moment; now when it is None.
            kept: the sign-in (`Grant.sign_in`) that goes on, for a user who changes the password. None: all end.

        Raises:
            UnknownUser: there is no such user.
            Unavailable: the database does not answer; nothing was revoked.
        """
        at = self._clock.now()
        moment = before or at

        async def work(connection: AsyncConnection) -> list[UUID] | None:
            return await store.revoke_user_tokens(connection, user_id, moment, at=at, kept=kept)

        families = await self._database.transact(work)
        if families is None:
            raise UnknownUser("There is no such user.")
        self.announce_user(user_id, moment, families, kept=kept)

    async def disable_user(self, user_id: UserId) -> None:
        """End all sign-ins of a user and refuse every token and sign-in until `enable_user`.

        Raises:
            UnknownUser: there is no such user.
            Unavailable: the database does not answer; nothing was changed.
        """
        at = self._clock.now()

        async def work(connection: AsyncConnection) -> list[UUID] | None:
            await store.set_disabled(connection, user_id, at)
            return await store.revoke_user_tokens(connection, user_id, at, at=at)

        families = await self._database.transact(work)
        if families is None:
            raise UnknownUser("There is no such user.")
        self.announce_user(user_id, at, families, disabled=True)

    async def enable_user(self, user_id: UserId) -> None:
        """Let a disabled user sign in again. Tokens from before stay refused. Raises Unavailable."""
        at = self._clock.now()

        async def work(connection: AsyncConnection) -> None:
            await store.set_disabled(connection, user_id, None)
            # Nodes that do not hear of it read it: they look for users whose moment is recent.
            await store.revoke_user_tokens(connection, user_id, at, at=at)

        await self._database.transact(work)
        message = UserRevoked(user_id, at, disabled=False)
        self._take_user(message)
        self._bus.publish(USERS_TOPIC, json.encode(message))

    def announce_sign_ins(self, families: Iterable[UUID]) -> None:
        """Refuse the tokens of these sign-ins, whose revocation has been committed; all nodes are told."""
        families = list(families)
        if families:
            self._take_sign_ins(families)
            self._bus.publish(SIGN_INS_TOPIC, json.encode(families))

    def announce_user(
        self,
        user_id: UserId,
        before: datetime,
        families: Iterable[UUID],
        *,
        kept: UUID | None = None,
        disabled: bool | None = None,
    ) -> None:
        """Refuse the tokens of a user from before a moment, which has been committed; all nodes are told.

        Args:
            user_id: the user.
            before: what `store.revocations.revoke_user_tokens` was given.
            families: what it returned. Nodes of version 0.1 hear of these alone.
            kept: the sign-in that goes on.
            disabled: True if the user was disabled, None if that did not change.
        """
        message = UserRevoked(user_id, before, kept, disabled)
        self._take_user(message)
        self._bus.publish(USERS_TOPIC, json.encode(message))
        self.announce_sign_ins(families)

    # Learning

    async def load(self) -> None:
        """Read everything that matters, and forget the rest. Raises Unavailable."""
        at = self._clock.now()
        sign_ins, not_before, disabled = set(self._sign_ins), dict(self._not_before), set(self._disabled)
        found = await self._database.read(lambda connection: store.read_revoked(connection, at - self._remembered))
        # What was heard while the database was read may not have been there to read.
        heard = self._sign_ins - sign_ins
        self._sign_ins = found.sign_ins | heard
        later = {user_id: value for user_id, value in self._not_before.items() if not_before.get(user_id) != value}
        self._not_before = found.not_before | later
        self._disabled = (found.disabled | (self._disabled - disabled)) - (disabled - self._disabled)
        self._read_at = at
        users = {user_id for user_id, value in self._not_before.items() if not_before.get(user_id) != value}
        self._tell(self._sign_ins - sign_ins, users | (self._disabled - disabled))

    async def load_recent(self) -> None:
        """Read what was revoked since the last reading. Raises Unavailable."""
        assert self._read_at is not None, "load first"
        at, since = self._clock.now(), self._read_at - OVERLAP
        found = await self._database.read(lambda connection: store.read_revoked(connection, since, disabled_since=since))
        self._read_at = at
        self._take_sign_ins(found.sign_ins)
        for user_id in found.not_before.keys() | found.disabled:
            value = found.not_before.get(user_id)
            before, kept = (value.moment, value.kept) if value is not None else (None, None)
            disabled = True if user_id in found.disabled else False if user_id in found.enabled else None
            self._take_user(UserRevoked(user_id, before, kept, disabled))

    async def run(self) -> None:
        """Until cancelled: hear what other nodes revoke, and read again."""
        listening, since_all = False, 0.0
        stamps: tuple[object, object] = (None, None)
        while True:
            stamp = self._stamp()
            # Twice the same: what was committed at the moment of the reading before has been read as well.
            is_unchanged = stamp is not None and stamps == (stamp, stamp)
            stamps = (stamps[1], stamp)
            try:
                if not listening:
                    await self._bus.subscribe(SIGN_INS_TOPIC, self._hear_sign_ins)
                    await self._bus.subscribe(USERS_TOPIC, self._hear_user)
                    listening = True
                if self._read_at is None or since_all >= READ_ALL_SECONDS:
                    await self.load()
                    since_all = 0.0
                elif not is_unchanged:
                    await self.load_recent()
                pause = self._read_again
            except ServiceError as failure:
                stamps = (None, None)
                log.warning("revocations not read", reason=failure.detail)
                pause = RETRY_SECONDS
            since_all += pause
            await self._clock.sleep(pause)

    def _hear_sign_ins(self, entry: Entry) -> None:
        try:
            self._take_sign_ins(_sign_ins.decode(entry.body))
        except DecodeError as failure:
            log.warning("revocation not understood", topic=SIGN_INS_TOPIC, reason=str(failure))

    def _hear_user(self, entry: Entry) -> None:
        try:
            self._take_user(_user.decode(entry.body))
        except DecodeError as failure:
            log.warning("revocation not understood", topic=USERS_TOPIC, reason=str(failure))

    def _take_sign_ins(self, families: Collection[UUID]) -> None:
        fresh = {family for family in families if family not in self._sign_ins}
        if fresh:
            self._sign_ins |= fresh
            self._tell(fresh, ())

    def _take_user(self, message: UserRevoked) -> None:
        user_id, changed = message.user_id, False
        if message.before is not None:
            known, value = self._not_before.get(user_id), NotBefore(message.before, message.kept)
            if value != known and (known is None or known.moment <= value.moment):
                self._not_before[user_id] = value
                changed = True
        if message.disabled is False:
            self._disabled.discard(user_id)
        elif message.disabled and user_id not in self._disabled:
            self._disabled.add(user_id)
            changed = True
        if changed:
            self._tell((), (user_id,))

    def _tell(self, sign_ins: Collection[UUID], users: Collection[UserId]) -> None:
        if sign_ins or users:
            for listener in self._listeners:
                listener(sign_ins, users)


def _is_before(grant: Grant, not_before: NotBefore) -> bool:
    """Whether this token may have been issued before the moment.

    `iat` has whole seconds. In the second of the moment itself, tokens of a sign-in are judged by the sign-in, which has ended if
    it was there; others count as issued before.
    """
    if grant.sign_in is not None and grant.sign_in == not_before.kept:
        return False
    moment = not_before.moment.timestamp()
    return grant.issued_at < (moment if grant.sign_in is None else int(moment))
