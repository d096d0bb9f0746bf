"""/asyncapi.json, held to what the sockets really say."""

from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from tests.fakes.people import Json, Socket, World, mint

pytestmark = pytest.mark.anyio

# Those that only a bus or an SFU of its own, a drain or a recording brings about.
RARE = {"topology", "layers", "speaker", "reconnect", "recording", "recording.ready"}


class Document:
    """The description, asked frame by frame."""

    def __init__(self, document: Json) -> None:
        self._document = document

    def faults(self, operation: str, frame: Json) -> list[str]:
        """What the description of this operation does not allow in the frame."""
        schemas = [self._follow(one["$ref"]) for one in self._document["operations"][operation]["messages"]]
        fitting = [message["payload"] for message in schemas if message["name"] == frame["type"]]
        if len(fitting) != 1:
            return [f"{len(fitting)} messages are named {frame['type']}"]
        whole = {**self._document, **fitting[0]}
        return [error.message for error in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(frame)]

    def names(self, operation: str) -> set[str]:
        """The types of an operation's messages."""
        return {self._follow(one["$ref"])["name"] for one in self._document["operations"][operation]["messages"]}

    def _follow(self, reference: str) -> Any:
        found: Any = self._document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return found


async def play(world: World) -> tuple[list[Socket], list[Socket]]:
    """Two calls in which almost everything happens that can: their signaling and their events sockets."""
    ada, phone, cleo = await world.people("Ada", "Ben", "Cleo")
    laptop = await world.bearer(mint(phone.user_id, "Ben"))
    inboxes = [await ada.events(), await phone.events(), await laptop.events(), await cleo.events()]
    conversation_id = await ada.converse(phone, cleo)
    await ada.write(conversation_id, "hello")
    declined = await ada.initiate(conversation_id, phone)
    await phone.decline(declined)
    cancelled = await ada.initiate(conversation_id, phone, cleo)
    await ada.leave(cancelled)

    call = await ada.initiate(conversation_id, phone)
    await inboxes[1].say("shown", call_id=call["call_id"])
    await inboxes[0].expect("call.ringing", call_id=call["call_id"])
    await inboxes[1].say("dance")
    await inboxes[1].expect("error")
    await phone.join(call)
    at_ada, at_ben = await ada.signaling(call), await phone.signaling(call)
    for kind, fields in {
        "offer": {"sdp": "v=0", "target_id": at_ben.welcome["session_id"], "connection_id": "1"},
        "answer": {"sdp": "v=0"},
        "ice_candidate": {"candidate": None},
        "mute_audio": {"muted": True},
        "mute_video": {"muted": False},
        "screen_share": {},
        "raise_hand": {"raised": True},
        "reaction": {"emoji": "🎉"},
        "quality": {"report": {"level": 4}},
        "switched": {"epoch": 1, "target_id": at_ben.welcome["session_id"]},
    }.items():
        await at_ada.tell(kind, **fields)
    await ada.ask("POST", f"/v1/calls/{call['call_id']}/participants/{phone.user_id}/mute", {"kinds": ["audio"]})
    await at_ben.expect("muted")
    for socket in (at_ada, inboxes[0]):
        await socket.say("auth", token=ada.token)
        await socket.expect("authenticated")
    await at_ada.say("dance")
    await at_ada.expect("error")
    await at_ben.tell("leave")
    await at_ada.closed()
    await at_ben.closed()
    for inbox in inboxes:
        await inbox.expect("call.ended", call_id=call["call_id"])
    await ada.ask("DELETE", f"/v1/devices/{uuid4()}")
    await inboxes[0].expect("device.revoked")
    place = f"/v1/conversations/{conversation_id}/participants"
    await cleo.ask("DELETE", f"{place}/{cleo.user_id}")
    await ada.ask("POST", place, {"user_ids": [cleo.user_id]})
    await inboxes[3].expect("conversation.invited")
    return [at_ada, at_ben], inboxes


async def test_every_frame_is_as_described(world: World) -> None:
    document = Document(await world.ask("GET", "/asyncapi.json", None, {}))
    talking, listening = await play(world)
    for operation, sockets in (("hear", talking), ("notify", listening)):
        frames = [frame for socket in sockets for frame in socket.frames]
        for frame in frames:
            assert document.faults(operation, frame) == [], frame
        assert document.names(operation) - {frame["type"] for frame in frames} <= RARE, "described, and never seen"
        stamped = next(frame for frame in reversed(frames) if frame["type"] != "ack" and ("seq" in frame or "cursor" in frame))
        without = {name: value for name, value in stamped.items() if name not in ("seq", "cursor")}
        assert document.faults(operation, without), "the description would let anything pass"
