"""The host silences somebody in the call: what the others hear of it, and that the SFU forwards nothing more. Called by api.calls.

The frame changes the snapshot as if the session had muted itself; the node that holds the session tells the SFU when it hears it.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from secureconnect.bus import Bus, call_topic
from secureconnect.calls.call import Call
from secureconnect.calls.service import CallService
from secureconnect.clock import Clock
from secureconnect.errors import CallEnded, NotHost, NotJoined
from secureconnect.ids import CallId, UserId
from secureconnect.signaling.protocol import MediaState, encode
from secureconnect.signaling.sfu_frames import Muted

Kind = Literal["audio", "video"]
_media = msgspec.json.Decoder(MediaState)


class Silence:
    """What a host may do to the others."""

    def __init__(self, calls: CallService, bus: Bus, clock: Clock) -> None:
        self._calls = calls
        self._bus = bus
        self._clock = clock

    async def mute(self, host_id: UserId, call_id: CallId, user_id: UserId, kinds: Sequence[Kind]) -> Call:
        """Silence all sessions of `user_id`. Raises NotFound, CallEnded, NotHost, NotJoined."""
        call = await self._calls.get(host_id, call_id)
        if call.over:
            raise CallEnded
        if host_id != call.caller_id:
            raise NotHost("Only who started the call may silence others in it.")
        one = call.participant(user_id)
        if one is None or not one.is_in:
            raise NotJoined("Nobody of that id is in this call.")
        await self._mute(call_id, [str(session.session_id) for session in one.sessions], host_id, kinds)
        return call

    async def mute_by_server(self, call_id: CallId, session_id: str) -> None:
        """Silence a session that sends more than it may, in all its media. Nothing, when it is not in the call."""
        call = await self._calls.look(call_id)
        owner = next((one for one in call.participants for session in one.sessions if str(session.session_id) == session_id), None)
        if owner is not None:
            await self._mute(call_id, [session_id], owner.user_id, ("audio", "video"), reason="bit_rate")

    async def _mute(
        self, call_id: CallId, session_ids: Sequence[str], by: UserId, kinds: Sequence[Kind], *, reason: str | None = None
    ) -> None:
        topic = call_topic(call_id)
        kept = (await self._bus.read(topic)).retained
        for key in session_ids:
            frame = Muted(call_id, self._clock.now(), key, by, sorted(set(kinds)), reason)
            state = silenced(_media.decode(kept[key]) if key in kept else MediaState(), kinds)
            self._bus.publish(topic, encode(frame), retain=(key, encode(state)))


def silenced(state: MediaState, kinds: Sequence[str]) -> MediaState:
    """What is known of a session that has been silenced."""
    return msgspec.structs.replace(
        state, audio_muted=state.audio_muted or "audio" in kinds, video_muted=state.video_muted or "video" in kinds
    )
