"""/asyncapi.json: the sockets, described by the Structs that they are made of (AsyncAPI 3.0)."""

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from secureconnect.chat.events import ConversationUpdated, MessageCreated
from secureconnect.signaling import protocol
from secureconnect.signaling.protocol import EVENT_FRAMES, SIGNALING_FRAMES, ClientMessage, type_of

REF = "#/components/schemas/{name}"


def client_messages() -> list[type[Struct]]:
    """Every message a client may send on the signaling socket."""
    return [kind for kind in vars(protocol).values() if isinstance(kind, type) and _is_message(kind)]


def event_frames() -> list[type[Struct]]:
    """Every frame of the events socket."""
    return [*EVENT_FRAMES, MessageCreated, ConversationUpdated]


def _is_message(kind: type) -> bool:
    return issubclass(kind, ClientMessage) and kind is not ClientMessage


def describe(version: str) -> dict[str, Any]:
    """The document."""
    sent, heard, events = client_messages(), list(SIGNALING_FRAMES), event_frames()
    _, schemas = msgspec.json.schema_components([*sent, *heard, *events], ref_template=REF)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "SecureConnect sockets", "version": version, "description": "See docs/protocol.md for order and resume."},
        "channels": {
            "signaling": {"address": "/v1/calls/ws/signaling", "messages": _messages([*sent, *heard])},
            "events": {"address": "/v1/ws/events", "messages": _messages(events)},
        },
        "operations": {
            "say": _operation("receive", "signaling", sent, "What a session may send; the server relays and stamps it."),
            "hear": _operation("send", "signaling", heard, "What the server itself says in a call."),
            "notify": _operation("send", "events", events, "What happens to a user's calls and conversations."),
        },
        "components": {"schemas": schemas},
    }


def _messages(kinds: Iterable[type[Struct]]) -> dict[str, Any]:
    return {
        kind.__name__: {"name": type_of(kind), "summary": (kind.__doc__ or "").partition("\n")[0], "payload": _ref(kind)}
        for kind in kinds
    }


def _operation(action: str, channel: str, kinds: Iterable[type[Struct]], summary: str) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{channel}/messages/{kind.__name__}"} for kind in kinds]
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
