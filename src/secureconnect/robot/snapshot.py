"""The call as one session sees it, kept by the rules of docs/protocol.md: old snapshot + frame = new snapshot.

Pure. `sockets.SignalingSocket` folds every frame into it; `call` and the commands read it.
"""

import msgspec

from secureconnect.ids import SessionId
from secureconnect.robot.wire import (
    Call,
    CallChanged,
    Leave,
    MediaState,
    Muted,
    RaiseHand,
    ScreenShare,
    Signal,
    Silenced,
    TopologyChanged,
    Welcome,
)

QUIET = MediaState()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`media` has no entry for a session in which nothing is muted, shared or raised."""

    call: Call
    media: dict[SessionId, MediaState] = {}
    topology: str = "p2p"


def opening(welcome: Welcome) -> Snapshot | None:
    """The snapshot that a `welcome` brings; None when it resumes and so brings none."""
    if welcome.call is None:
        return None
    return Snapshot(call=welcome.call, media=welcome.media, topology=welcome.topology)


def after(snapshot: Snapshot, signal: Signal) -> Snapshot:
    """The snapshot after `signal`; the same object when nothing changed."""
    match signal:
        # The order in which nodes publish is not the order in which they committed: the version decides.
        case CallChanged(call=call) if call.version > snapshot.call.version:
            snapshot = msgspec.structs.replace(snapshot, call=call)
        case TopologyChanged(topology=topology):
            snapshot = msgspec.structs.replace(snapshot, topology=topology)
        case Muted(type="mute_audio", session_id=session, muted=muted):
            snapshot = _with(snapshot, session, audio_muted=muted)
        case Muted(session_id=session, muted=muted):
            snapshot = _with(snapshot, session, video_muted=muted)
        case Silenced(session_id=session, kinds=kinds):
            snapshot = _with(snapshot, session, **{f"{kind}_muted": True for kind in kinds if kind in {"audio", "video"}})
        case ScreenShare(session_id=session, active=active):
            snapshot = _with(snapshot, session, screen_share=active)
        case RaiseHand(session_id=session, raised=raised):
            snapshot = _with(snapshot, session, hand_raised=raised)
        case Leave(session_id=session):
            snapshot = _put(snapshot, session, QUIET)
    return snapshot


def _with(snapshot: Snapshot, session: SessionId, **change: bool) -> Snapshot:
    return _put(snapshot, session, msgspec.structs.replace(snapshot.media.get(session, QUIET), **change))


def _put(snapshot: Snapshot, session: SessionId, state: MediaState) -> Snapshot:
    media = {other: kept for other, kept in snapshot.media.items() if other != session}
    if state != QUIET:
        media[session] = state
    return msgspec.structs.replace(snapshot, media=media)
