"""One connection at its end: what it may still write, what it must not, and that the others do not suffer for it."""

import asyncio
from typing import Any, cast

import pytest

from secureconnect.signaling.framing import text_frames
from secureconnect.signaling.protocol import QUEUE_MESSAGES
from secureconnect.signaling.socket import Connection, Sockets
from secureconnect.signaling.upgrade import Attachment

pytestmark = pytest.mark.anyio


class Transport:
    """picows' transport and the one below it: it notes what is written, and refuses like uvloop's once it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes | str] = []
        self.closed = False
        self.underlying_transport = self

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high > 0

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.written.append(data)

    def send(self, _kind: object, frame: bytes) -> None:
        self.write(text_frames([frame]))

    def send_close(self, code: int, _reason: bytes) -> None:
        self.written.append(f"close {code}")

    def disconnect(self, _graceful: bool = True) -> None:
        self.closed = True


class Silent:
    kind = "silent"
    context: dict[str, str] = {}  # noqa: RUF012  (nobody writes to it)

    def opened(self, channel: object) -> None:
        """Says nothing of its own accord."""


def sockets() -> Sockets:
    return Sockets(gate=cast(Any, None), problem_of=cast(Any, None), monotonic=lambda: 0.0, max_sockets=10, ping_seconds=20.0)


def connected(to: Sockets) -> tuple[Connection, Transport]:
    connection, transport = Connection(to, cast(Attachment, Silent())), Transport()
    connection.on_ws_connected(cast(Any, transport))
    return connection, transport


async def test_a_connection_that_is_lost_in_the_turn_costs_the_others_nothing() -> None:
    all_here = sockets()
    lost, lost_transport = connected(all_here)
    alive, transport = connected(all_here)
    for connection in (lost, alive):
        connection.send(b"1")
        connection.send(b"2")
    lost_transport.closed = True
    lost.on_ws_disconnected(cast(Any, lost_transport))
    await asyncio.sleep(0)
    alive.send(b"3")
    await asyncio.sleep(0)
    assert b"".join(cast(list[bytes], transport.written)) == text_frames([b"1", b"2", b"3"])
    assert lost_transport.written == [text_frames([b"1"])]


async def test_the_last_words_come_before_the_goodbye() -> None:
    connection, transport = connected(sockets())
    connection.pause_writing()
    connection.send(b"call")
    connection.send(b"leave")
    connection.close(1000, "ended")
    connection.resume_writing()
    assert transport.written == [text_frames([b"call", b"leave"]), "close 1000"]


async def test_who_does_not_read_is_told_nothing_more_than_goodbye() -> None:
    connection, transport = connected(sockets())
    connection.pause_writing()
    for _ in range(QUEUE_MESSAGES + 1):
        connection.send(b"{}")
    assert transport.written == ["close 1013"]
