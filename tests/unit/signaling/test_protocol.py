"""Frames: every client message both ways, what is refused and with which words, and that rubbish is only ever refused."""

import json
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from secureconnect.calls.call import LeaveReason
from secureconnect.ids import CallId, SessionId, UserId
from secureconnect.signaling.events import with_cursor
from secureconnect.signaling.handlers import Refusal, parse
from secureconnect.signaling.protocol import (
    BURST,
    MAX_FRAME_BYTES,
    Ack,
    AnyClientMessage,
    ErrorFrame,
    LeaveFrame,
    Limits,
    MediaState,
    MuteAudio,
    MuteVideo,
    RaiseHand,
    ScreenShare,
    encode,
    type_of,
    with_seq,
)

SDP = 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns="quoted"\r\n\u00e9'
CANDIDATE = {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}

MESSAGES: list[dict[str, Any]] = [
    {"type": "offer", "sdp": SDP},
    {"type": "offer", "sdp": SDP, "connection_id": "pc-1"},
    {"type": "answer", "sdp": SDP, "connection_id": "pc-1"},
    {"type": "ice_candidate", "candidate": CANDIDATE},
    {"type": "ice_candidate", "candidate": None, "connection_id": "pc-1"},
    {"type": "ice_restart", "connection_id": "pc-1", "epoch": 4},
    {"type": "view", "tiles": [{"session_id": "one", "source": "camera", "width": 640, "height": 360}]},
    {"type": "switched", "epoch": 4},
    {"type": "offer", "sdp": SDP, "connection_id": "pc-1", "epoch": 3, "tracks": [{"mid": "0", "source": "microphone"}]},
    {"type": "mute_audio", "muted": True},
    {"type": "mute_video", "muted": False},
    {"type": "screen_share", "active": False},
    {"type": "raise_hand", "raised": False},
    {"type": "reaction", "emoji": "🎉"},
    {"type": "quality"},
    {"type": "quality", "report": {"level": 4, "rtt_ms": 12.5}},
    {"type": "leave"},
    {"type": "auth", "token": "a.b.c"},
]


def refusal_of(frame: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(frame)
    return caught.value


@pytest.mark.parametrize("message", MESSAGES, ids=" ".join)
@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("addressed", [{}, {"target_id": "somebody", "ref": "r1"}])
def test_what_is_sent_is_what_is_passed_on(message: dict[str, Any], escaped: bool, addressed: dict[str, str]) -> None:
    frame = json.dumps(message | addressed, ensure_ascii=escaped, indent=1).encode()
    passed_on = json.loads(encode(parse(frame)))
    if message["type"] in ("mute_audio", "mute_video"):
        assert passed_on == message | addressed
    else:  # what has a default may be left out by neither side
        assert {name: passed_on[name] for name in message | addressed} == message | addressed


def test_every_type_of_the_protocol_is_tried_here() -> None:
    assert {message["type"] for message in MESSAGES} == {type_of(kind) for kind in AnyClientMessage.__args__}


@pytest.mark.parametrize(
    ("frame", "name", "value"),
    [
        (b'{"type":"screen_share"}', "active", True),
        (b'{"type":"raise_hand"}', "raised", True),
        (b'{"type":"reaction"}', "emoji", "👍"),
    ],
)
def test_what_is_left_out_is_the_default(frame: bytes, name: str, value: object) -> None:
    assert json.loads(encode(parse(frame)))[name] == value


def test_what_the_protocol_does_not_know_is_dropped() -> None:
    passed_on = json.loads(encode(parse(b'{"type":"leave","session_id":"forged","seq":1,"x":[1,{"y":2}]}')))
    assert passed_on == {"type": "leave"}


class TestRefusals:
    @pytest.mark.parametrize(
        "frame",
        [
            *(b"", b" ", b"null", b"[]", b'"offer"', b"1", b"{", b'{"type":"leave"', b'{"type":"leave"}}', b"not json"),
            *(b"{}", b'{"type":null}', b'{"type":5}', b'{"type":["leave"]}'),
            *(b'{"type":"offer"}', b'{"type":"offer","sdp":null}', b'{"type":"offer","sdp":{}}', b'{"type":"answer","sdp":1}'),
            *(b'{"type":"offer","sdp": [ "x" ]}', b'{"type":"offer","sdp":"x","connection_id":1}'),
            b'{"type":"offer","sdp":"x","connection_id":"' + b"x" * 65 + b'"}',
            *(b'{"type":"ice_candidate"}', b'{"type":"ice_candidate","candidate":"x"}', b'{"type":"ice_candidate","candidate":[]}'),
            *(b'{"type":"mute_audio"}', b'{"type":"mute_audio","muted":1}', b'{"type":"mute_video","muted":"yes"}'),
            *(b'{"type":"auth"}', b'{"type":"auth","token":""}', b'{"type":"auth","token":null}'),
            b'{"type":"auth","token":"' + b"x" * 8193 + b'"}',
            *(b'{"type":"screen_share","active":null}', b'{"type":"raise_hand","raised":0}'),
            *(b'{"type":"reaction","emoji":""}', b'{"type":"reaction","emoji":"' + b"x" * 33 + b'"}'),
            *(b'{"type":"quality","report":null}', b'{"type":"quality","report":[1]}'),
            *(b'{"type":"leave","target_id":1}', b'{"type":"leave","target_id":"' + b"x" * 65 + b'"}'),
            b'{"type":"leave","ref":"' + b"x" * 65 + b'"}',
        ],
    )
    def test_malformed(self, frame: bytes) -> None:
        assert refusal_of(frame).code == "malformed"

    @pytest.mark.parametrize("name", ["dance", "Offer", "", "welcome", "join", "💥"])
    def test_unknown_type(self, name: str) -> None:
        assert refusal_of(json.dumps({"type": name}).encode()).code == "unknown_type"

    @pytest.mark.parametrize(
        "frame",
        [
            b'{"type":"offer","sdp":"\xff"}',
            b'{"type":"reaction","emoji":"\xc3"}',
            b"\xef\xbb\xbf{}\xfe",
            b'{"type":"leave","x":"\xed\xa0\x80"}',
        ],
    )
    def test_what_is_not_utf8_is_malformed(self, frame: bytes) -> None:
        refusal = refusal_of(frame)
        assert (refusal.code, refusal.detail) == ("malformed", "Not UTF-8.")

    @pytest.mark.parametrize(
        "frame",
        [
            *(b'{"ref":"r1"}', b'{"type":"dance","ref":"r1"}', b'{"ref":"r1","type":7}'),
            *(
                b'{"type":"offer","ref":"r1"}',
                b'{"type":"offer","sdp":1,"ref":"r1"}',
                b'{"ref":"r1","type":"mute_audio","muted":2}',
            ),
            *(b'{"type":"leave","target_id":[],"ref":"r1"}', b'{"type":"ice_candidate","candidate":1,"ref":"r1"}'),
        ],
    )
    def test_the_ref_comes_back(self, frame: bytes) -> None:
        assert refusal_of(frame).ref == "r1"

    @pytest.mark.parametrize("ref", [b"1", b"null", b"{}", b'"' + b"x" * 65 + b'"'])
    def test_a_ref_that_is_none_does_not(self, ref: bytes) -> None:
        assert refusal_of(b'{"type":"dance","ref":' + ref + b"}").ref is None

    @pytest.mark.parametrize("kind", [b"offer", b"dance"])
    @pytest.mark.parametrize("place", [b"sdp", b"ref", b"anything"])
    @pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
    def test_the_deepest_nesting_is_refused(self, kind: bytes, place: bytes, brackets: tuple[bytes, bytes]) -> None:
        opening, closing = brackets
        depth = MAX_FRAME_BYTES // (len(opening) + len(closing)) - 20
        frame = b'{"type":"%s","%s":%s1%s}' % (kind, place, opening * depth, closing * depth)
        assert refusal_of(frame).code in ("malformed", "unknown_type")


def test_rubbish_is_only_ever_refused() -> None:
    """100 000 frames, each a few strokes away from a good one. The seed makes a failure repeat."""
    dice = random.Random(20260102)
    good = [json.dumps(message | {"ref": "r", "target_id": "t"}, ensure_ascii=False).encode() for message in MESSAGES]
    strokes = [b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\\u", b"\xff", b"\0", b"\xc3", b"-", b"null", b"1e999"]
    accepted = 0
    for _ in range(100_000):
        frame = bytearray(dice.choice(good))
        for _ in range(dice.randint(1, 3)):
            start = dice.randrange(len(frame) + 1)
            frame[start : start + dice.randint(0, 4)] = dice.choice(strokes)
        with suppress(Refusal):
            json.loads(encode(parse(bytes(frame))))
            accepted += 1
    assert 0 < accepted < 50_000


class TestMediaState:
    def test_each_message_changes_its_own_part(self) -> None:
        state = MediaState()
        for message in (MuteAudio(muted=True), MuteVideo(muted=True), ScreenShare(), RaiseHand()):
            state = state.after(message)
        assert state == MediaState(audio_muted=True, video_muted=True, screen_share=True, hand_raised=True)
        assert state.after(MuteAudio(muted=False)) == msgspec.structs.replace(state, audio_muted=False)

    def test_all_of_it_is_shown(self) -> None:
        assert json.loads(encode(MediaState())) == dict.fromkeys(
            ("audio_muted", "video_muted", "screen_share", "hand_raised"), False
        )


class TestServerFrames:
    def test_a_frame_of_the_log_gets_its_seq_in_front(self) -> None:
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        leave = LeaveFrame(CallId(UUID(int=1)), moment, UserId(UUID(int=2)), SessionId(UUID(int=3)), LeaveReason.MOVED)
        frame = json.loads(with_seq(2**53 - 1, encode(leave)))
        assert (frame["seq"], frame["type"], frame["reason"]) == (2**53 - 1, "leave", "moved")
        assert frame["timestamp"] == "2026-01-02T00:00:00Z"

    def test_a_cursor_is_text(self) -> None:
        assert json.loads(with_cursor(7, b'{"type":"x"}')) == {"cursor": "7", "type": "x"}

    def test_an_error_without_ref_says_so(self) -> None:
        assert json.loads(encode(ErrorFrame("malformed", "Why."))) == {
            "type": "error",
            "code": "malformed",
            "detail": "Why.",
            "ref": None,
        }
        assert json.loads(encode(Ack("r", 1))) == {"type": "ack", "ref": "r", "seq": 1}

    def test_the_limits_are_those_of_the_document(self) -> None:
        assert json.loads(encode(Limits(30))) == {
            "max_frame_bytes": 65_536,
            "messages_per_second": 50,
            "burst": BURST,
            "grace_seconds": 30,
        }
