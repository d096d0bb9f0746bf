"""Frames as docs/protocol.md writes them, decoded."""

import json
from uuid import UUID

import msgspec
import pytest

from secureconnect.robot.wire import (
    NOTICES,
    SIGNALS,
    CallEvent,
    Description,
    IceCandidate,
    Muted,
    Refused,
    decode_notice,
    decode_signal,
)

SESSION = "01938f6e-0000-7000-8000-000000000001"
STAMP = {"seq": 12, "call_id": SESSION, "timestamp": "2026-11-24T09:41:07.5Z", "sender_id": SESSION, "session_id": SESSION}
CALL = {
    "call_id": SESSION,
    "conversation_id": SESSION,
    "call_type": "video",
    "status": "ringing",
    "end_reason": None,
    "version": 1,
    "caller_id": SESSION,
    "topology": "p2p",
    "created_at": "2026-11-24T09:41:07Z",
    "answered_at": None,
    "ended_at": None,
    "participants": [
        {
            "user_id": SESSION,
            "display_name": "Ada",
            "role": "caller",
            "state": "joined",
            "waiting": False,
            "ring_deadline": None,
            "joined_at": "2026-11-24T09:41:07Z",
            "left_at": None,
            "devices": [SESSION],
            "sessions": [{"session_id": SESSION, "device_id": SESSION, "connected": True}],
        }
    ],
}


def frame(type: str, **fields: object) -> str:
    return json.dumps({"type": type, **STAMP, **fields})


def test_one_shape_serves_several_types() -> None:
    offer = decode_signal(frame("offer", sdp="v=0", connection_id="c"))
    assert isinstance(offer, Description)
    assert (offer.type, offer.sdp, offer.connection_id, offer.session_id) == ("offer", "v=0", "c", UUID(SESSION))
    muted = decode_signal(frame("mute_video", muted=True))
    assert isinstance(muted, Muted)
    assert muted.type == "mute_video"


def test_the_last_candidate_is_null() -> None:
    last = decode_signal(frame("ice_candidate", candidate=None))
    assert isinstance(last, IceCandidate)
    assert last.candidate is None


def test_an_error_without_a_ref() -> None:
    assert decode_signal('{"type":"error","code":"malformed","detail":"no","ref":null}') == Refused(code="malformed", detail="no")


def test_types_of_tomorrow_are_passed_over() -> None:
    assert decode_signal(frame("hologram")) is None
    assert decode_notice('{"type":"weather.changed","cursor":"1"}') is None


def test_a_known_type_of_another_shape_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_signal(frame("offer"))


def test_an_incoming_call_with_fields_of_tomorrow() -> None:
    text = json.dumps({"type": "call.incoming", "cursor": "7-0", "timestamp": STAMP["timestamp"], "call": CALL | {"mood": "good"}})
    event = decode_notice(text)
    assert isinstance(event, CallEvent)
    assert event.call.live
    assert event.call.session_ids == [UUID(SESSION)]
    assert event.call.participants[0].display_name == "Ada"


def test_every_type_of_the_protocol_is_known() -> None:
    relayed = {
        "offer",
        "answer",
        "ice_candidate",
        "mute_audio",
        "mute_video",
        "screen_share",
        "raise_hand",
        "reaction",
        "quality",
        "switched",
    }
    spoken = {"welcome", "authenticated", "join", "leave", "call", "topology", "reconnect", "ack", "error", "muted"}
    assert set(SIGNALS) == relayed | spoken
    assert "message.created" in NOTICES
