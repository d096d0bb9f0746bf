"""What an offer to the SFU may hold: a microphone, a camera, a screen, each once, and nothing else; and what a candidate. Pure.

Only the lines that bound it are read (RFC 8866); what they mean in detail is the SFU's to understand.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from secureconnect.media import BadDescription, Track
from secureconnect.signaling.sfu_frames import Source

MAX_SECTIONS = 8
"""A connection keeps the sections of tracks that have ended: a screen that was shared again and again takes the same one."""
MAX_CANDIDATE = 1024
_KINDS = {Source.MICROPHONE: "audio", Source.CAMERA: "video", Source.SCREEN: "video"}

_candidate = msgspec.json.Decoder(dict[str, Any] | None)


def kind_of(source: Source) -> str:
    """`audio` or `video`."""
    return _KINDS[source]


def fault_of(sdp: str, tracks: Sequence[Track]) -> str | None:
    """Why this is no offer of these tracks, or None."""
    sections = list(_sections(sdp.splitlines()))
    if not 0 < len(sections) <= MAX_SECTIONS:
        return f"sdp: 1 to {MAX_SECTIONS} sections, not {len(sections)}"
    kinds = {mid: kind for kind, mid in sections}
    if len(kinds) < len(sections) or "" in kinds:
        return "sdp: every section needs a mid of its own (RFC 8843)"
    if not set(kinds.values()) <= {"audio", "video"}:
        return "sdp: audio and video only"
    if len({track.source for track in tracks}) < len(tracks) or len({track.mid for track in tracks}) < len(tracks):
        return "tracks: each source once, each in a section of its own"
    wrong = next((track for track in tracks if kinds.get(track.mid) != kind_of(track.source)), None)
    return None if wrong is None else f"tracks: no {kind_of(wrong.source)} section {wrong.mid!r} for the {wrong.source}"


def _sections(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Kind and mid of each section."""
    kind, mid = "", ""
    for line in lines:
        if line.startswith("m="):
            if kind:
                yield kind, mid
            kind, mid = line[2:].partition(" ")[0], ""
        elif kind and line.startswith("a=mid:"):
            mid = line.removeprefix("a=mid:")
    if kind:
        yield kind, mid


def candidate_in(raw: bytes) -> dict[str, Any] | None:
    """A candidate as RTCIceCandidate.toJSON() makes it, with no more than Janus is to see. Raises BadDescription."""
    try:
        found = _candidate.decode(raw)
    except msgspec.DecodeError as fault:
        raise BadDescription(str(fault)) from None
    if found is None or not found.get("candidate"):
        return None
    candidate, mid, index = found["candidate"], found.get("sdpMid"), found.get("sdpMLineIndex")
    if not isinstance(candidate, str) or len(candidate) > MAX_CANDIDATE:
        raise BadDescription("candidate: not what a browser makes")
    if not isinstance(mid, str | None) or not isinstance(index, int | None):
        raise BadDescription("candidate: sdpMid is a string, sdpMLineIndex a number")
    return {"candidate": candidate, "sdpMid": mid, "sdpMLineIndex": index}
