"""What is sent: ICE candidates and SDP offers of a chosen size, numbered, so that a receiver can tell what it should have got.

Called by traffic, calls and bench/. The texts are those of a browser: real line lengths and escapes decide what JSON costs.
"""

import msgspec

DIGITS = 8
"""Width of the number in a message: of fixed width, so that messages have one size and a number has one place."""

_NUMBER = "#" * DIGITS

SDP_FROM = 1024
"""Sizes from here on are SDP offers: no candidate is this long."""


class Content(msgspec.Struct, frozen=True):
    """The JSON value of a message, cut where its number goes."""

    kind: str
    """`ice_candidate` or `offer`."""
    field: str
    """The member of the message that holds the value: `candidate` or `sdp`."""
    head: bytes
    tail: bytes

    def at(self, number: int) -> bytes:
        """The value with its number."""
        return b"%b%0*d%b" % (self.head, DIGITS, number, self.tail)

    def number_in(self, value: bytes) -> int | None:
        """The number of a value that `at` made, or None when it is not one."""
        digits = value[len(self.head) : len(self.head) + DIGITS]
        if digits.isdigit() and self.at(int(digits)) == value:
            return int(digits)
        return None


def content_of(frame_bytes: int) -> Content:
    """A content that makes a SecureConnect frame of about this size, `target_id` included; for every wire the same value."""
    envelope = b'{"type":"ice_candidate","target_id":"00000000-0000-0000-0000-000000000000","candidate":}'
    value_bytes = max(frame_bytes - len(envelope), 0)
    return _offer(value_bytes) if frame_bytes >= SDP_FROM else _candidate(value_bytes)


def _candidate(size: int) -> Content:
    def value(padding: int) -> bytes:
        fragment = "EsAw" + "x" * padding
        line = f"candidate:{_NUMBER} 1 udp 1677729535 203.0.113.7 61034 typ srflx raddr 10.0.0.17 rport 54321 ufrag EsAw"
        return msgspec.json.encode({"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": fragment})

    return _cut("ice_candidate", "candidate", value(max(size - len(value(0)), 0)))


def _offer(size: int) -> Content:
    session = f"v=0\r\no=- {_NUMBER} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=msid-semantic: WMS\r\n"
    media = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
    text = session + media
    payload_type = 96
    while len(msgspec.json.encode(text)) < size:
        text += f"a=rtpmap:{payload_type} VP9/90000\r\na=fmtp:{payload_type} profile-id=0\r\n"
        text += "".join(f"a=rtcp-fb:{payload_type} {kind}\r\n" for kind in ("goog-remb", "transport-cc", "nack pli"))
        payload_type += 1
    # What is over is cut from the end, never within an escape.
    while len(msgspec.json.encode(text)) > size and len(text) > len(session):
        text = text[:-1]
    return _cut("offer", "sdp", msgspec.json.encode(text))


def _cut(kind: str, field: str, value: bytes) -> Content:
    head, _, tail = value.partition(_NUMBER.encode())
    return Content(kind, field, head, tail)
