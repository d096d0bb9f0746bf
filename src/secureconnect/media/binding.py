"""Whether a TURN server listens: a STUN Binding request, which it answers without asking who wants to know (RFC 8489, section 3).

Asked for `/health`. What a TURN server relays is the doctor's question, not this one.
"""

import asyncio
import secrets
import ssl

from secureconnect.media.ice import parse_turn_url

MAGIC_COOKIE = bytes.fromhex("2112a442")
BINDING_REQUEST, BINDING_SUCCESS = bytes.fromhex("0001"), bytes.fromhex("0101")
HEADER_BYTES = 20
AGAIN_SECONDS = 0.5
"""After how long a datagram that was not answered is sent again (RFC 8489, section 6.2.1)."""


async def ask(url: str) -> None:
    """Return once the server at a TURN URL (RFC 7065) has answered, however long that takes.

    Raises OSError when it cannot be reached or says something else than STUN, ValueError when that is no such URL.
    """
    scheme, host, port, transport = parse_turn_url(url)
    transaction = secrets.token_bytes(12)
    request = BINDING_REQUEST + b"\0\0" + MAGIC_COOKIE + transaction
    if transport == "udp":
        answer = await _by_datagram(host, port, request)
    else:
        answer = await _by_stream(host, port, request, tls=scheme == "turns")
    if not answer.startswith(BINDING_SUCCESS) or answer[4:HEADER_BYTES] != MAGIC_COOKIE + transaction:
        raise ConnectionError("it does not speak STUN")


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.answer.done():
            self.answer.set_result(data)


async def _by_datagram(host: str, port: int, request: bytes) -> bytes:
    transport, ear = await asyncio.get_running_loop().create_datagram_endpoint(_Ear, remote_addr=(host, port))
    try:
        while True:
            transport.sendto(request)
            done, _ = await asyncio.wait([ear.answer], timeout=AGAIN_SECONDS)
            if done:
                return ear.answer.result()
    finally:
        transport.close()


async def _by_stream(host: str, port: int, request: bytes, *, tls: bool) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if tls else None)
    try:
        writer.write(request)
        return await reader.readexactly(HEADER_BYTES)
    except asyncio.IncompleteReadError:
        raise ConnectionError("it closed the connection") from None
    finally:
        writer.close()
