"""Janus' API over one WebSocket: transactions, sessions, handles, events. Transport only; `media.videoroom` knows what it says.

Everything that comes from Janus is checked for its shape before anybody sees it, and bounded in size and time. A connection that
ends is final: `media.pool` opens another, and claims there what it had here.
https://janus.conf.meetecho.com/docs/rest describes the messages, its section on WebSockets how they travel.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from secureconnect.clock import Clock
from secureconnect.media.janus_bundle import MINIMUM, parse_version

SUBPROTOCOL = "janus-protocol"
UNIX = "unix:"
"""What the URL of a Unix socket begins with; its path follows."""
PLUGIN = "janus.plugin.videoroom"
MAX_BYTES = 1_048_576
"""The largest message taken: an offer of a hundred streams is a tenth of it."""
OPEN_SECONDS = 1.0
REPLY_SECONDS = 5.0
PING_SECONDS = 2.0
"""How often it is pinged, and how long an answer may take: one that hangs is found out in twice that."""
CLOSE_SECONDS = 1.0
"""The library would wait ten seconds for a goodbye from one that hangs."""
KEEPALIVE_SECONDS = 15.0
"""Janus gives a session up after a minute in which nothing was asked."""
NO_ANSWER, TOO_OLD, UNAUTHORIZED, NO_SUCH_SESSION, NO_SUCH_HANDLE = 0, 1, 403, 458, 459
"""Codes of `JanusError`. The first two are ours: for a request that is left without an answer while the connection is well, and for
a Janus with known faults."""

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]


class JanusError(Exception):
    """Janus refuses a request; `code` is of janus' apierror.h, or of the plugin."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason if code == TOO_OLD else f"{code} {reason}")
        self.code = code
        self.reason = reason


class JanusLost(Exception):
    """Janus does not answer: it died, it hangs, or it cannot be reached."""


class _Error(msgspec.Struct):
    code: int = 0
    reason: str = ""


class _Plugindata(msgspec.Struct):
    data: dict[str, Any] = {}


class _Data(msgspec.Struct):
    id: int = 0


class Jsep(msgspec.Struct, frozen=True):
    """A session description (RFC 8829)."""

    type: str
    sdp: str


class Message(msgspec.Struct, frozen=True):
    """What Janus sends, as far as it is read here."""

    janus: str
    transaction: str = ""
    session_id: int = 0
    sender: int = 0
    plugindata: _Plugindata = msgspec.field(default_factory=_Plugindata)
    jsep: Jsep | None = None
    data: _Data = msgspec.field(default_factory=_Data)
    error: _Error = msgspec.field(default_factory=_Error)
    version: int = 0
    version_string: str = ""
    reason: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """What the plugin says."""
        return self.plugindata.data


OnEvent = Callable[[Message], None]
_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder().encode


class _Session:
    """Who hears of a session's end, and of the events of its handles."""

    __slots__ = ("handles", "on_end")

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.on_end = on_end
        self.handles: dict[int, OnEvent] = {}


class Janus:
    """One connection. Made by `open_janus`; every request raises JanusLost once it is lost."""

    def __init__(self, socket: ClientConnection, secret: str, clock: Clock) -> None:
        self.lost = asyncio.Event()
        self.version: tuple[int, ...] = ()
        self._socket = socket
        self._secret = secret
        self._clock = clock
        self._numbers = count(1)
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._behind_ack: set[str] = set()
        self._sessions: dict[int, _Session] = {}
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._keep_alive())]

    @property
    def is_old(self) -> bool:
        """Whether a participant can crash it (see `janus_bundle.MINIMUM`)."""
        return self.version < MINIMUM

    async def info(self) -> Message:
        """Its version and settings."""
        return await self._ask("info")

    async def create(self, on_end: Callable[[], None]) -> int:
        """A session; `on_end` when Janus gives it up or the connection is lost."""
        session = (await self._ask("create")).data.id
        self._sessions[session] = _Session(on_end)
        return session

    async def claim(self, session: int, on_end: Callable[[], None]) -> None:
        """Take over a session that another connection had. Raises JanusError NO_SUCH_SESSION when it is gone."""
        await self._ask("claim", session_id=session)
        self._sessions[session] = _Session(on_end)

    async def destroy(self, session: int) -> None:
        """End a session with all its handles; nothing happens when it has ended."""
        self.forget(session)
        with contextlib.suppress(JanusError):
            await self._ask("destroy", session_id=session)

    def forget(self, session: int) -> None:
        """Hear no more of a session: it is another's."""
        self._sessions.pop(session, None)

    async def attach(self, session: int, on_event: OnEvent) -> int:
        """A handle of VideoRoom in the session."""
        handle = (await self._ask("attach", session_id=session, plugin=PLUGIN)).data.id
        self.listen(session, handle, on_event)
        return handle

    def listen(self, session: int, handle: int, on_event: OnEvent) -> None:
        """Hear the events of a handle in a claimed session."""
        if session in self._sessions:
            self._sessions[session].handles[handle] = on_event

    async def detach(self, session: int, handle: int) -> None:
        """End a handle; nothing happens when it has ended."""
        if session in self._sessions:
            self._sessions[session].handles.pop(handle, None)
        with contextlib.suppress(JanusError):
            await self._ask("detach", session_id=session, handle_id=handle)

    async def message(self, session: int, handle: int, body: Body, jsep: Jsep | None = None) -> Message:
        """Ask the plugin. Raises JanusError with its refusal."""
        fields: dict[str, Any] = {"session_id": session, "handle_id": handle, "body": body}
        if jsep is not None:
            fields["jsep"] = jsep
        reply = await self._ask("message", wait_behind_ack=True, **fields)
        if "error_code" in reply.body:
            raise JanusError(_number(reply.body["error_code"]), str(reply.body.get("error", "")))
        return reply

    async def trickle(self, session: int, handle: int, candidate: object) -> None:
        """Hand on an ICE candidate as browsers make it; None is the end of them."""
        await self._ask("trickle", session_id=session, handle_id=handle, candidate=candidate or {"completed": True})

    async def close(self) -> None:
        """End the connection; sessions live on until they are claimed or given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()
        self._lose()

    async def _ask(self, kind: str, *, wait_behind_ack: bool = False, **fields: Any) -> Message:
        if self.lost.is_set():
            raise JanusLost("the connection is gone")
        transaction = str(next(self._numbers))
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = reply
        if wait_behind_ack:
            self._behind_ack.add(transaction)
        request = {"janus": kind, "transaction": transaction, "apisecret": self._secret, **fields}
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                await self._socket.send(_encode(request), text=True)
                answer = await reply
        except TimeoutError:
            raise JanusError(NO_ANSWER, f"no answer to {kind} within {REPLY_SECONDS:g} s") from None
        except WebSocketException as failure:
            raise JanusLost(str(failure)) from None
        finally:
            self._waiting.pop(transaction, None)
            if reply.done() and not reply.cancelled():
                reply.exception()  # Known: what could not be sent has no answer either.
            self._behind_ack.discard(transaction)
        if answer.janus == "error":
            raise JanusError(answer.error.code, answer.error.reason)
        return answer

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                try:
                    message = _decode(frame)
                except msgspec.DecodeError as fault:
                    log.warning("SFU said what is not understood", reason=str(fault))
                    continue
                self._take(message)
        except WebSocketException:
            pass
        finally:
            self._lose()

    def _take(self, message: Message) -> None:
        if message.janus == "ack" and message.transaction in self._behind_ack:
            return
        waiting = self._waiting.get(message.transaction)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(message)
        elif message.janus == "timeout":
            ended = self._sessions.pop(message.session_id, None)
            if ended is not None:
                ended.on_end()
        elif message.janus not in {"ack", "success", "error"}:
            session = self._sessions.get(message.session_id)
            on_event = session.handles.get(message.sender) if session else None
            if on_event is not None:
                on_event(message)

    def _lose(self) -> None:
        if self.lost.is_set():
            return
        self.lost.set()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(JanusLost("the connection is gone"))
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.on_end()

    async def _keep_alive(self) -> None:
        """Each session by itself, as Janus wants it; what it answers is read as an ack that nobody waits for."""
        while True:
            await self._clock.sleep(KEEPALIVE_SECONDS)
            for session in list(self._sessions):
                request = {"janus": "keepalive", "transaction": "", "apisecret": self._secret, "session_id": session}
                with contextlib.suppress(WebSocketException):
                    await self._socket.send(_encode(request), text=True)


async def open_janus(url: str, secret: str, clock: Clock, *, allow: str | None = None) -> Janus:
    """Connect, and see that it answers to this secret and has a version without known faults.

    Args:
        url: `ws://`, `wss://`, or `unix:` and the path of a socket.
        secret: Janus' api_secret.
        clock: For what is repeated.
        allow: A version that is used although it is old.

    Raises:
        JanusLost: Nothing answers there.
        JanusError: UNAUTHORIZED for a wrong secret, TOO_OLD for a version with known faults.
    """
    options: dict[str, Any] = {
        "subprotocols": [SUBPROTOCOL],
        "compression": None,
        "max_size": MAX_BYTES,
        "open_timeout": OPEN_SECONDS,
        "ping_interval": PING_SECONDS,
        "ping_timeout": PING_SECONDS,
        "close_timeout": CLOSE_SECONDS,
    }
    try:
        if url.startswith(UNIX):
            socket = await unix_connect(url.removeprefix(UNIX), **options)
        else:
            socket = await connect(url, proxy=None, **options)
    except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as failure:
        raise JanusLost(str(failure) or type(failure).__name__) from None
    janus = Janus(socket, secret, clock)
    try:
        # `info` needs no secret; a session does.
        await janus.destroy(await janus.create(lambda: None))
        await _check_version(janus, allow)
    except BaseException:
        await janus.close()
        raise
    return janus


async def _check_version(janus: Janus, allow: str | None) -> None:
    said = (await janus.info()).version_string
    janus.version = parse_version(said)
    if janus.is_old and said != allow:
        minimum = ".".join(map(str, MINIMUM))
        raise JanusError(TOO_OLD, f"Janus {said} has known faults: install {minimum} or newer, or set sfu_allow_version")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
