"""Frames as an independent implementation reads them."""

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from secureconnect.signaling.framing import text_frames


def read_all(data: bytes) -> list[Frame]:
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    frames = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parsing)
        except StopIteration as end:
            frames.append(end.value)
    return frames


def test_every_length_has_its_header() -> None:
    payloads = [b"x" * size for size in (0, 1, 125, 126, 127, 65_535, 65_536, 70_000)]
    frames = read_all(text_frames(payloads))
    assert [frame.data for frame in frames] == payloads
    assert {(frame.opcode, frame.fin) for frame in frames} == {(Opcode.TEXT, True)}


def test_nothing_is_nothing() -> None:
    assert text_frames([]) == b""
