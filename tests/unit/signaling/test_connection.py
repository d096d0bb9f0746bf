"""One connection at its end: what it may still write, what it must not, and that the others do not suffer for it."""

import asyncio
from typing import Any, cast
from uuid import UUID

import pytest
from picows import WSMsgType

from secureconnect.ids import UserId
from secureconnect.signaling import connection as module
from secureconnect.signaling.connection import MAX_CONTROL_FRAMES, Connection
from secureconnect.signaling.framing import text_frames
from secureconnect.signaling.lifetime import Lifetimes
from secureconnect.signaling.outgoing import USER_BYTES, Outgoing
from secureconnect.signaling.protocol import CONNECTION_BYTES, QUEUE_BYTES, QUEUE_MESSAGES
from secureconnect.signaling.socket import Sockets
from secureconnect.signaling.upgrade import Attachment

pytestmark = pytest.mark.anyio


class Transport:
    """picows' transport and the one below it: it notes what is written, and refuses like uvloop's once it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes | str] = []
        self.closed = False
        self.underlying_transport = self
        self.reading = True
        self.waiting = 0

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high > 0

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.written.append(data)

    def send(self, _kind: object, frame: bytes) -> None:
        self.write(text_frames([frame]))

    def send_close(self, code: int, _reason: bytes = b"") -> None:
        self.written.append(f"close {code}")

    def send_pong(self, payload: bytes) -> None:
        self.written.append(f"pong {payload.decode()}")

    def send_ping(self) -> None:
        self.written.append("ping")

    def disconnect(self, graceful: bool = True) -> None:
        self.written.append(f"disconnect {graceful}")
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.waiting


class Control:
    """A control frame as picows hands it over."""

    payload_size = 1
    fin = True

    def __init__(self, payload: bytes, kind: WSMsgType = WSMsgType.PING) -> None:
        self.msg_type = kind
        self._payload = payload

    def get_payload_as_bytes(self) -> bytes:
        return self._payload

    def get_close_code(self) -> int:
        return 1000


ANN, BEN = UserId(UUID(int=1)), UserId(UUID(int=2))


class Silent:
    context: dict[str, str] = {}  # noqa: RUF012  (nobody writes to it)

    def __init__(self, user_id: UserId = ANN, kind: str = "events") -> None:
        self.user_id = user_id
        self.kind = kind

    def opened(self, channel: object) -> None:
        """Says nothing of its own accord."""


class Forever:
    """Lets every socket stay."""

    def watch(self, connections: object) -> None: ...

    def end_if_over(self, connection: object) -> bool:
        return False


def sockets(total: int = 16 * QUEUE_BYTES) -> Sockets:
    outgoing = Outgoing(sockets_per_user=3, total=total)
    return Sockets(
        gate=cast(Any, None),
        problem_of=cast(Any, None),
        monotonic=lambda: 0.0,
        max_sockets=10,
        ping_seconds=20.0,
        outgoing=outgoing,
        lifetimes=cast(Lifetimes, Forever()),
    )


def connected(to: Sockets, user_id: UserId = ANN, kind: str = "events") -> tuple[Connection, Transport]:
    connection, transport = Connection(to, cast(Attachment, Silent(user_id, kind))), Transport()
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


async def test_of_many_pings_in_one_turn_the_newest_is_answered() -> None:
    connection, transport = connected(sockets())
    for number in range(5):
        connection.on_ws_frame(cast(Any, transport), cast(Any, Control(b"%d" % number)))
    await asyncio.sleep(0)
    assert transport.written == ["pong 4"]


async def test_a_client_that_does_not_read_is_not_read_from_and_gets_one_pong_when_it_does() -> None:
    here = sockets()
    connection, transport = connected(here)
    transport.waiting = 70_000
    connection.pause_writing()
    assert (transport.reading, here.outgoing.held) == (False, 70_000)
    for number in range(9):
        connection.on_ws_frame(cast(Any, transport), cast(Any, Control(b"%d" % number)))
    await asyncio.sleep(0)
    assert transport.written == []
    connection.resume_writing()
    await asyncio.sleep(0)
    assert (transport.reading, here.outgoing.held) == (True, 0)
    assert transport.written == ["pong 8"]


@pytest.mark.parametrize("kind", [WSMsgType.PING, WSMsgType.PONG])
async def test_control_frames_without_end_close_the_socket(kind: WSMsgType) -> None:
    connection, transport = connected(sockets())
    for _ in range(MAX_CONTROL_FRAMES):
        connection.on_ws_frame(cast(Any, transport), cast(Any, Control(b"x", kind)))
    connection.check(0.0, 40.0)  # another period: the count begins anew
    connection.on_ws_frame(cast(Any, transport), cast(Any, Control(b"x", kind)))
    assert transport.written == ["ping"]
    for _ in range(MAX_CONTROL_FRAMES):
        connection.on_ws_frame(cast(Any, transport), cast(Any, Control(b"x", kind)))
    assert transport.written[-1] == "close 1008"


async def test_what_is_sent_in_one_turn_has_a_limit_in_bytes() -> None:
    connection, transport = connected(sockets())
    frame = b"x" * 60_000
    for _ in range(CONNECTION_BYTES // len(frame) + 2):
        connection.send(frame)
    assert transport.written == [text_frames([frame]), "close 1013"]


async def test_a_client_that_says_goodbye_and_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.0)
    connection, transport = connected(sockets())
    connection.on_ws_frame(cast(Any, transport), cast(Any, Control(b"", WSMsgType.CLOSE)))
    await asyncio.sleep(0.01)
    assert transport.written == ["close 1000", "disconnect True", "disconnect False"]


async def test_of_one_user_the_oldest_socket_closes_for_one_more_and_calls_keep_theirs() -> None:
    here = sockets()
    in_call, call_transport = connected(here, kind="signaling")
    oldest, oldest_transport = connected(here)
    _, next_transport = connected(here)
    _, of_ben = connected(here, BEN)
    newest, newest_transport = connected(here)
    assert oldest_transport.written == ["close 1008"]
    assert [one.written for one in (call_transport, next_transport, of_ben, newest_transport)] == [[]] * 4
    assert here.outgoing.most_sockets == 4  # one of them on its way out
    oldest.on_ws_disconnected(cast(Any, oldest_transport))
    assert here.outgoing.most_sockets == 3
    for _ in range(5):
        connected(here)
    assert [one.is_closing for one in (in_call, newest)] == [False, True]
    assert sum(transport.closed for transport in (oldest_transport, next_transport, newest_transport)) >= 1


async def test_what_waits_for_one_user_has_a_limit_over_all_sockets() -> None:
    here = sockets(total=100 * USER_BYTES)
    mine = [connected(here) for _ in range(3)]
    _, of_ben = connected(here, BEN)
    for connection, transport in mine:
        transport.waiting = 3 * QUEUE_BYTES
        connection.pause_writing()
    assert [transport.closed for _, transport in mine].count(True) == 1
    assert here.outgoing.most_bytes <= USER_BYTES
    assert here.outgoing.cut == 1
    assert not of_ben.closed


async def test_what_waits_in_the_process_has_a_limit_and_the_largest_goes_first() -> None:
    here = sockets(total=4 * QUEUE_BYTES)
    small, small_transport = connected(here)
    large, large_transport = connected(here, BEN)
    small_transport.waiting, large_transport.waiting = QUEUE_BYTES, 3 * QUEUE_BYTES
    small.pause_writing()
    large.pause_writing()
    before = [small_transport.closed, large_transport.closed]
    small.send(b"x")
    assert before == [False, False]
    assert [small_transport.closed, large_transport.closed] == [False, True]
    assert here.outgoing.held == QUEUE_BYTES + 1
    large.on_ws_disconnected(cast(Any, large_transport))
    small.on_ws_disconnected(cast(Any, small_transport))
    assert here.outgoing.held == 0
    assert here.outgoing.users == 0
