"""RTX taken out of session descriptions, however it is written, and nothing else."""

import pytest

from secureconnect.media.rtx import without_rtx

HEAD = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
AUDIO = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=rtpmap:111 opus/48000/2", "a=ssrc:1 cname:a"]
VIDEO = ["m=video 9 UDP/TLS/RTP/SAVPF 96 98", "a=mid:1", "a=rtpmap:96 VP8/90000", "a=rtpmap:98 VP9/90000", "a=ssrc:2 cname:a"]
VIDEO_RTX = [
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99",
    "a=mid:1",
    "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "a=rtpmap:96 VP8/90000",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=rtpmap:98 VP9/90000",
    "a=rtpmap:99 rtx/90000",
    "a=rtcp-fb:99 nack",
    "a=fmtp:99 apt=98",
    "a=ssrc-group:FID 2 3",
    "a=ssrc:2 cname:a",
    "a=ssrc:3 cname:a",
]


def sdp(*lines: str, end: str = "\r\n") -> str:
    return end.join([*lines, ""])


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_payloads_streams_and_the_extension_go_and_all_else_stays(end: str) -> None:
    assert without_rtx(sdp(*HEAD, *AUDIO, *VIDEO_RTX, end=end)) == sdp(*HEAD, *AUDIO, *VIDEO)


def test_a_description_without_rtx_is_not_changed() -> None:
    text = sdp(*HEAD, *AUDIO, *VIDEO, end="\n")
    assert without_rtx(text) is text


@pytest.mark.parametrize(
    "line",
    [
        "a=rtpmap:97 RTX/90000",
        "a=rtpmap: 97 rtx/90000",
        "a=rtpmap:97  Rtx/90000",
        "a=rtpmap:97\trtx/90000",
        "A=rtpmap:97 rtx/90000",
    ],
)
def test_it_is_found_however_it_is_written(line: str) -> None:
    found = without_rtx(sdp("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:96 VP8/90000", line))
    assert found == sdp("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000")


def test_a_number_is_rtx_in_its_own_section_only() -> None:
    found = without_rtx(sdp("m=video 9 X 96 97", "a=rtpmap:97 rtx/90000", "m=video 9 X 97", "a=rtpmap:97 VP8/90000"))
    assert found == sdp("m=video 9 X 96", "m=video 9 X 97", "a=rtpmap:97 VP8/90000")


def test_a_section_of_nothing_else_keeps_a_number_without_a_meaning() -> None:
    assert without_rtx(sdp("m=video 9 X 97", "a=rtpmap:97 rtx/90000")) == sdp("m=video 9 X 97")


def test_groups_for_other_ends_stay() -> None:
    lines = ["m=video 9 X 96", "a=ssrc-group:SIM 1 2 3", "a=ssrc:2 cname:a"]
    assert without_rtx(sdp(*lines, "a=ssrc-group:FID 1 4", "a=ssrc:4 cname:a")) == sdp(*lines)
