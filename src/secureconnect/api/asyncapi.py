"""/asyncapi.json: the sockets, described by the Structs that they are made of (AsyncAPI 3.0)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from secureconnect.accounts.events import DeviceRevoked
from secureconnect.chat.events import ConversationInvited, ConversationUpdated, MessageCreated
from secureconnect.ids import CallId, SessionId, UserId
from secureconnect.signaling import protocol, reports
from secureconnect.signaling.events import EVENT_FRAMES
from secureconnect.signaling.protocol import SIGNALING_FRAMES, Authenticated, ClientMessage, ErrorFrame, type_of

REF = "#/components/schemas/{name}"


class Place(Struct):
    """A frame's place in the log of its call."""

    seq: int


class Stamp(Place):
    """What the server adds to a message that it relays: its place, whose it is, and when it came."""

    sender_id: UserId
    session_id: SessionId
    call_id: CallId
    timestamp: datetime


class Position(Struct):
    """Where an event stands among all that its user hears of: come back with it as `?cursor=`."""

    cursor: str


def client_messages() -> list[type[ClientMessage]]:
    """Every message a client may send on the signaling socket."""
    return [kind for kind in vars(protocol).values() if isinstance(kind, type) and _is_message(kind)]


def event_frames() -> list[type[Struct]]:
    """Every frame of the events socket."""
    return [*EVENT_FRAMES, reports.CallRinging, MessageCreated, ConversationUpdated, ConversationInvited, DeviceRevoked, ErrorFrame]


def device_reports() -> list[type[Struct]]:
    """Every message a device may send on the events socket."""
    return [reports.Shown, reports.DeviceAuth]


def _is_message(kind: type) -> bool:
    return issubclass(kind, ClientMessage) and kind is not ClientMessage


def describe(version: str) -> dict[str, Any]:
    """The document."""
    said, heard, events, reported = client_messages(), list(SIGNALING_FRAMES), event_frames(), device_reports()
    _, schemas = msgspec.json.schema_components([*said, *heard, *events, *reported, Stamp, Place, Position], ref_template=REF)
    say = {kind.__name__: _message(kind) for kind in said}
    hear = {kind.__name__: _message(kind, *([Place] if "call_id" in kind.__struct_fields__ else [])) for kind in heard}
    hear |= {f"Relayed{kind.__name__}": _message(kind, Stamp) for kind in said if kind.relayed}
    hear = _one_a_name(hear)
    notify = {kind.__name__: _message(kind, *([] if kind in (ErrorFrame, Authenticated) else [Position])) for kind in events}
    report = {kind.__name__: _message(kind) for kind in reported}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "SecureConnect sockets", "version": version, "description": "See docs/protocol.md for order and resume."},
        "channels": {
            "signaling": {"address": "/v1/calls/ws/signaling", "messages": say | hear},
            "events": {"address": "/v1/ws/events", "messages": notify | report},
        },
        "operations": {
            "say": _operation("receive", "signaling", say, "What a session may send."),
            "hear": _operation("send", "signaling", hear, "What it hears: the others, stamped, and the server itself."),
            "report": _operation("receive", "events", report, "What a device may say of a ring."),
            "notify": _operation("send", "events", notify, "What happens to a user's calls and conversations."),
        },
        "components": {"schemas": schemas},
    }


def _one_a_name(messages: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Messages of one name as one, whose payload is any of theirs: an offer may be another session's, or the SFU's."""
    by_name: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    for key, message in messages.items():
        first = by_name.setdefault(message["name"], key)
        if first == key:
            found[key] = message
        else:
            found[first] = {**found[first], "payload": {"anyOf": [found[first]["payload"], message["payload"]]}}
    return found


def _message(kind: type[Struct], *added: type[Struct]) -> dict[str, Any]:
    """A message of this kind, with what the server adds on the way."""
    payload = {"allOf": [_ref(one) for one in (kind, *added)]} if added else _ref(kind)
    return {"name": type_of(kind), "summary": (kind.__doc__ or "").partition("\n")[0], "payload": payload}


def _operation(action: str, channel: str, names: Iterable[str], summary: str) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary, "messages": messages}


def _ref(kind: type[Struct]) -> dict[str, str]:
    return {"$ref": REF.format(name=kind.__name__)}


def make_route(version: str) -> HTTPRouteHandler:
    """The route; the document is made once."""
    document = describe(version)

    @get("/asyncapi.json", include_in_schema=False, sync_to_thread=False)
    def asyncapi() -> dict[str, Any]:
        return document

    return asyncapi
