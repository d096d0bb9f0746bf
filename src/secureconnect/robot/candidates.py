"""ICE candidates and credentials in SDP, as far as `peer` must look into it. Pure.

See RFC 8839, sections 5.1 (candidate), 5.4 (ice-ufrag) and RFC 8840 (trickle).
"""

from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

CANDIDATE = "candidate:"


@dataclass(frozen=True)
class BareDescription:
    """A session description without its candidates, and the user fragments that its ICE credentials have."""

    text: str
    ufrags: frozenset[str]


def take_candidates(sdp: str) -> tuple[BareDescription, list[str | None]]:
    """Take the candidates out of a description, each once, as browsers trickle them: `candidate:…`, and None at the end of all.

    aiortc looks for a bundle's candidates in its last section and browsers write them into the first: so they go in one by one.
    """
    kept: list[str] = []
    taken: dict[str | None, None] = {}  # A set that keeps the order.
    ended = False
    ufrags = set()
    for line in sdp.splitlines():
        attribute = line.removeprefix("a=")
        if attribute.startswith(CANDIDATE):
            taken[attribute] = None
        elif attribute == "end-of-candidates":
            ended = True
        else:
            kept.append(line)
        if attribute.startswith("ice-ufrag:"):
            ufrags.add(attribute.removeprefix("ice-ufrag:"))
    if ended:
        taken[None] = None
    return BareDescription("".join(f"{line}\r\n" for line in kept), frozenset(ufrags)), list(taken)


def parse_candidate(line: str) -> RTCIceCandidate | None:
    """The candidate in `line`, or None for what is no candidate, as the empty one that ends a generation."""
    fields = line.removeprefix(CANDIDATE)
    try:
        return candidate_from_sdp(fields) if len(fields.split()) >= 8 else None
    except ValueError:
        return None
