"""The two sockets, as async iterators of decoded frames that come back by themselves and miss nothing.

`call` reads SignalingSocket, `echo` and `headless` read EventsSocket. Here are dialling, waiting, resuming and resending; what a
frame means is decided by who reads it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from secureconnect.clock import Clock
from secureconnect.ids import CallId, SessionId
from secureconnect.robot.backoff import Backoff
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ProblemError, UnreachableError, problem
from secureconnect.robot.renewal import REF, TokenRenewal
from secureconnect.robot.snapshot import Snapshot, after, opening
from secureconnect.robot.wire import (
    Ack,
    Authenticated,
    EventsWelcome,
    Notice,
    Reconnect,
    Refused,
    Relayed,
    Signal,
    Welcome,
    decode_notice,
    decode_signal,
)

log = structlog.get_logger(__name__)

REVOKED, EXPIRED = 4003, 4004
"""The close codes that say: the token that opened this socket counts no more."""
LEFT = 1000
"""The close code that says: you left, the call ended, or another socket of yours took over. Nothing to come back to."""
GOODBYE_SECONDS = 2.0
"""How long the server may take to close after `leave`."""


class Dialer:
    """Opens connections to one server as one user, waiting longer after each failure."""

    def __init__(self, client: Client, *, clock: Clock, random: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._backoff = Backoff(random)
        self._wait = 0.0
        self.token: str | None = None

    def wait(self, seconds: float) -> None:
        """The next attempt begins no sooner than in `seconds`."""
        self._wait = max(self._wait, seconds)

    def failed(self) -> None:
        """The connection was lost, or there was none."""
        self.wait(self._backoff.failed())

    def lost(self, closed: ConnectionClosed) -> None:
        """The connection is gone; when that is because of its token, the next one takes another."""
        if self.token is not None and closed.rcvd is not None and closed.rcvd.code in (REVOKED, EXPIRED):
            self._client.expire(self.token)
        self.failed()

    def succeeded(self) -> None:
        """The server greeted us: what failed before counts no more."""
        self._backoff.succeeded()

    async def dial(self, path: str, query: Callable[[], dict[str, Any]]) -> ClientConnection:
        """A connection, however long it takes; `query` is asked before each attempt.

        Raises ProblemError for a refusal that waiting does not cure.
        """
        address = f"ws{self._client.base_url.removeprefix('http')}{path}"
        while True:
            seconds, self._wait = self._wait, 0.0
            if seconds > 0:
                await self._clock.sleep(seconds)
            present = urlencode({name: value for name, value in query().items() if value is not None})
            try:
                return await self._open(f"{address}?{present}" if present else address)
            except ProblemError as refusal:
                is_curable = refusal.code == "token_expired" and self._client.can_renew
                if not is_curable and not refusal.passing and refusal.status < 500:
                    raise
                log.debug("socket refused", path=path, code=refusal.code)
                self.wait(refusal.retry_after or 0.0)
                self.failed()
            except (UnreachableError, OSError, TimeoutError, InvalidHandshake) as failure:
                log.debug("socket failed", path=path, reason=str(failure))
                self.failed()

    async def _open(self, address: str) -> ClientConnection:
        token = self.token = await self._client.access_token()
        try:
            return await connect(
                address,
                additional_headers={"Authorization": f"Bearer {token}"},
                compression=None,
                proxy=None,
                close_timeout=1,
                max_queue=256,
            )
        except InvalidStatus as refused:
            answer = refused.response
            if answer.status_code == 401:
                self._client.expire(token)
            raise problem(answer.status_code, answer.headers, answer.body or b"") from None


class EventsSocket:
    """`async for notice in EventsSocket(…)`: every event of one user, for ever; a lost connection resumes at `cursor`.

    An EventsWelcome comes after each connecting; one that is not `resumed` says that events may have been missed: load the
    lists again.
    """

    def __init__(self, client: Client, *, clock: Clock, random: Callable[[], float]) -> None:
        self.cursor: str | None = None
        self._device_id = client.device_id
        self._dialer = Dialer(client, clock=clock, random=random)
        self._renewal = TokenRenewal(client, clock)
        self._connection: ClientConnection | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notice:
        """The next event. Raises ProblemError when the server refuses the socket for good, StopAsyncIteration after `close`."""
        while not self._closed:
            if self._connection is None:
                self._connection = await self._dialer.dial("/v1/ws/events", self._position)
            try:
                notice = decode_notice(await self._connection.recv())
            except ConnectionClosed as closed:
                self._connection = None
                self._renewal.stop()
                self._dialer.lost(closed)
                continue
            if notice is None:
                continue
            if isinstance(notice, Authenticated):
                self._renewal.plan(self._connection, notice.token_expires_in)
                continue
            if isinstance(notice, Reconnect):
                self._dialer.wait(notice.after_ms / 1000)
                await self._connection.close(1000)
                self._renewal.stop()
                self._connection = None
                continue
            if isinstance(notice, EventsWelcome):
                self._dialer.succeeded()
                self._renewal.plan(self._connection, notice.token_expires_in)
            self.cursor = notice.cursor
            return notice
        raise StopAsyncIteration

    async def close(self) -> None:
        self._closed = True
        self._renewal.stop()
        if self._connection is not None:
            await self._connection.close()

    def _position(self) -> dict[str, Any]:
        return {"device_id": self._device_id, "cursor": self.cursor}


class SignalingSocket:
    """`async for signal in SignalingSocket(…)`: one session in one call, until it is left, over or refused.

    A lost connection resumes at `seq`; frames that no `ack` has confirmed are sent again then, in order. A Welcome that is not
    `resumed` begins a new session: what was known of the others is void. `snapshot` is up to date with the last frame returned.
    """

    def __init__(self, client: Client, call_id: CallId, *, clock: Clock, random: Callable[[], float]) -> None:
        self.session_id: SessionId | None = None
        self.seq: int | None = None
        self.snapshot: Snapshot | None = None
        self._client = client
        self._call_id = call_id
        self._resume: str | None = None
        self._attempts = 0
        self._dialer = Dialer(client, clock=clock, random=random)
        self._renewal = TokenRenewal(client, clock)
        self._connection: ClientConnection | None = None
        self._outbox = Outbox()
        self._writing = asyncio.Lock()
        self._greeted = False
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Signal:
        """The next frame. Raises ProblemError when the server refuses the session (`call_ended`, `not_joined`, …)."""
        while not self._closed:
            if self._connection is None:
                self._connection = await self._dialer.dial("/v1/calls/ws/signaling", self._position)
            try:
                signal = decode_signal(await self._connection.recv())
            except ConnectionClosed as closed:
                self._lost(closed)
                if closed.rcvd is not None and closed.rcvd.code == LEFT:
                    self._closed = True
                continue
            if signal is not None:
                await self._note(signal)
                return signal
        raise StopAsyncIteration

    async def send(self, type: str, **fields: object) -> str:
        """Send one frame, now or, when the connection is lost, once it is back. Fields that are None are left out.

        Returns the `ref` of the Ack or Refused that will answer it.
        """
        present = {name: value for name, value in fields.items() if value is not None}
        ref = self._outbox.put({"type": type, **present})
        await self._write()
        return ref

    async def leave(self) -> None:
        """This session leaves the call for good; returns when the server has closed or has had time enough to do so."""
        connection = self._connection
        if connection is None or not self._greeted:
            await self._client.leave(self._call_id)
            return
        await self.send("leave")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(connection.wait_closed(), GOODBYE_SECONDS)

    async def close(self) -> None:
        """Let go of the socket without leaving: the participant shows as reconnecting."""
        self._closed = True
        self._renewal.stop()
        if self._connection is not None:
            await self._connection.close()

    def _position(self) -> dict[str, Any]:
        self._attempts += 1
        place = {"call_id": self._call_id, "device_id": self._client.device_id, "attempt": self._attempts}
        return place if self._resume is None else place | {"resume": self._resume, "seq": self.seq}

    def _lost(self, closed: ConnectionClosed) -> None:
        self._connection = None
        self._greeted = False
        self._renewal.stop()
        self._dialer.lost(closed)

    async def _note(self, signal: Signal) -> None:
        if self.snapshot is not None:
            self.snapshot = after(self.snapshot, signal)
        match signal:
            case Welcome():
                self._greet(signal)
                await self._write()
                if self._connection is not None:
                    self._renewal.plan(self._connection, signal.token_expires_in)
            case Authenticated(token_expires_in=seconds) if self._connection is not None:
                self._renewal.plan(self._connection, seconds)
            case Refused(ref=ref) if ref == REF:
                log.debug("token not renewed", reason=signal.detail)
            case Relayed(seq=seq):
                self.seq = seq
            case Ack(ref=ref) | Refused(ref=str(ref)):
                self._outbox.confirm(ref)
            case Reconnect(after_ms=after_ms) if self._connection is not None:
                self._dialer.wait(after_ms / 1000)
                await self._connection.close(1000)
                self._renewal.stop()
                self._connection = None
                self._greeted = False

    def _greet(self, welcome: Welcome) -> None:
        self._dialer.succeeded()
        self._greeted = True
        self.session_id, self._resume = welcome.session_id, welcome.resume
        if welcome.resumed:
            self._outbox.again()
        else:
            # `seq` of a resumed welcome is where the call is, not how far the replay has come: that one counts the frames itself.
            self.seq = welcome.seq
            self.snapshot = opening(welcome)
            self._outbox.clear()

    async def _write(self) -> None:
        async with self._writing:
            while self._greeted and self._connection is not None and (frame := self._outbox.next()) is not None:
                try:
                    await self._connection.send(frame)
                except ConnectionClosed:
                    return


class Outbox:
    """What was said and is not yet confirmed, in order: pure, so that resending needs no network to be tested."""

    def __init__(self) -> None:
        self._count = 0
        self._unconfirmed: dict[str, str] = {}
        self._waiting: list[str] = []

    def put(self, frame: dict[str, object]) -> str:
        """Take a frame; its ref."""
        self._count += 1
        ref = str(self._count)
        self._unconfirmed[ref] = msgspec.json.encode({**frame, "ref": ref}).decode()
        self._waiting.append(ref)
        return ref

    def next(self) -> str | None:
        """The next frame to write, or None."""
        while self._waiting:
            frame = self._unconfirmed.get(self._waiting.pop(0))
            if frame is not None:
                return frame
        return None

    def confirm(self, ref: str) -> None:
        self._unconfirmed.pop(ref, None)

    def again(self) -> None:
        """The connection is a new one: everything unconfirmed is to be written again."""
        self._waiting = list(self._unconfirmed)

    def clear(self) -> None:
        """The session is a new one: what was said to the sessions of before is void."""
        self._unconfirmed.clear()
        self._waiting.clear()
