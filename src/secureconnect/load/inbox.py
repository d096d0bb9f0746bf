"""A socket whose frames are waited for one by one: how the driver of whole calls listens. Called by calls."""

import asyncio
import time
from uuid import UUID

import msgspec
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from secureconnect.load.people import Call, Person
from secureconnect.load.rest import LoadError


class Event(msgspec.Struct):
    """The part of a frame, of either socket, that a driver looks at."""

    type: str
    session_id: str = ""
    seq: int = 0
    code: str = ""
    detail: str = ""
    call: Call | None = None
    call_id: UUID | None = None
    candidate: msgspec.Raw = msgspec.Raw()
    sdp: msgspec.Raw = msgspec.Raw()

    @property
    def about(self) -> UUID | None:
        """The call this is about."""
        return self.call.call_id if self.call else self.call_id


class Inbox(WSListener):
    """Keeps what came until it is asked for, with the moment it came (perf_counter)."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[tuple[float, Event] | None] = asyncio.Queue()
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            now = time.perf_counter()
            # Bytes of our own: raw JSON points into what it was decoded from, and picows writes the next frame over its view.
            self._frames.put_nowait((now, DECODER.decode(frame.get_payload_as_bytes())))
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._frames.put_nowait(None)

    def send(self, message: bytes) -> None:
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, message)

    async def until(self, kind: str, call_id: UUID | None = None) -> tuple[float, Event]:
        """The next frame of this type, of this call where one is named; others on the way are dropped.

        Raises LoadError for an error frame, a socket that closes, or ten seconds without.
        """
        try:
            async with asyncio.timeout(10):
                while True:
                    item = await self._frames.get()
                    if item is None:
                        raise LoadError(f"socket closed before {kind}")
                    event = item[1]
                    if event.type == "error":
                        raise LoadError(f"error {event.code} before {kind}: {event.detail}")
                    if event.type == kind and call_id in {None, event.about}:
                        return item
        except TimeoutError:
            raise LoadError(f"no {kind} in 10 s") from None

    async def closed(self) -> None:
        """Wait for the server to close. Raises LoadError after ten seconds."""
        try:
            async with asyncio.timeout(10):
                while await self._frames.get() is not None:
                    pass
        except TimeoutError:
            raise LoadError("the server did not close a socket that left") from None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


DECODER = msgspec.json.Decoder(Event)


async def open_inbox(url: str, person: Person) -> Inbox:
    """A socket of this person, connected. Raises LoadError when the server refuses it."""
    inbox = Inbox()
    try:
        await ws_connect(lambda: inbox, url, extra_headers=person.headers, read_buffer_init_size=2048)
    except (WSError, OSError, TimeoutError) as error:
        raise LoadError(f"socket refused: {error!r}") from error
    return inbox
