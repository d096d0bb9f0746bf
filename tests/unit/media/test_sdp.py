"""What an offer to the SFU may hold, and what a candidate."""

import pytest

from secureconnect.media import BadDescription, Track
from secureconnect.media.sdp import MAX_CANDIDATE, MAX_SECTIONS, candidate_in, fault_of
from secureconnect.signaling.sfu_frames import Source

MICROPHONE, CAMERA, SCREEN = (Track(mid, source) for mid, source in zip("012", Source, strict=True))


def offer(*sections: tuple[str, str]) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=mid:of-no-section"]
    for kind, mid in sections:
        lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF 96", f"a=mid:{mid}"]
    return "\r\n".join(lines) + "\r\n"


ALL = (("audio", "0"), ("video", "1"), ("video", "2"))


def test_a_microphone_a_camera_and_a_screen_are_taken() -> None:
    assert fault_of(offer(*ALL), [MICROPHONE, CAMERA, SCREEN]) is None


def test_a_section_of_a_track_that_ended_may_stay() -> None:
    assert fault_of(offer(*ALL), [MICROPHONE, CAMERA]) is None


@pytest.mark.parametrize(
    ("sdp", "tracks"),
    [
        ("", []),
        ("nothing of the kind", []),
        (offer(), []),
        (offer(*(("video", str(number)) for number in range(MAX_SECTIONS + 1))), []),
        (offer(("audio", "0"), ("video", "0")), []),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\n", []),
        (offer(("audio", "0"), ("application", "1")), [MICROPHONE]),
        (offer(*ALL), [MICROPHONE, Track("1", Source.MICROPHONE)]),
        (offer(*ALL), [Track("0", Source.CAMERA)]),
        (offer(*ALL), [Track("9", Source.CAMERA)]),
        (offer(*ALL), [CAMERA, Track("1", Source.SCREEN)]),
        (offer(*ALL), [CAMERA, Track("2", Source.CAMERA)]),
    ],
)
def test_anything_else_is_refused_in_words(sdp: str, tracks: list[Track]) -> None:
    assert fault_of(sdp, tracks)


def test_a_candidate_is_handed_on_with_no_more_than_it_needs() -> None:
    raw = b'{"candidate":"candidate:1 1 udp 1 10.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0,"secret":"x"}'
    found = {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    assert candidate_in(raw) == found


@pytest.mark.parametrize("raw", [b"null", b"{}", b'{"candidate":""}'])
def test_the_end_of_candidates_is_none(raw: bytes) -> None:
    assert candidate_in(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"[",
        b'{"candidate":1}',
        b'{"candidate":"x","sdpMid":1}',
        b'{"candidate":"x","sdpMLineIndex":"0"}',
        b'{"candidate":"%s"}' % (b"x" * (MAX_CANDIDATE + 1)),
    ],
)
def test_what_is_no_candidate_is_refused(raw: bytes) -> None:
    with pytest.raises(BadDescription):
        candidate_in(raw)
