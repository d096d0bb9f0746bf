"""Session descriptions without retransmission streams (RTX, RFC 4588), for a Janus that one of their packets crashes. Pure.

Lines are split as Janus splits them. What goes: the payload types of RTX, the streams that repair another one (RFC 5576, FID), and
the header extension that names the repaired stream (RFC 8852).
"""

import re
from collections.abc import Iterator

_RTX = re.compile(r"a=rtpmap:\s*(\d+)\s+rtx\b", re.IGNORECASE)
_PAYLOAD = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):\s*(\d+)\b", re.IGNORECASE)
_REPAIRS = re.compile(r"a=ssrc-group:\s*FID\b(.*)", re.IGNORECASE)
_SOURCE = re.compile(r"a=ssrc:\s*(\d+)\b", re.IGNORECASE)
_REPAIRED = re.compile(r"a=extmap:.*repaired-rtp-stream-id", re.IGNORECASE)


def without_rtx(sdp: str) -> str:
    """The description without anything that negotiates RTX; one without RTX stays as it is."""
    lines = [line.rstrip("\r") for line in sdp.split("\n")]
    if not any(_RTX.match(line) or _REPAIRS.match(line) or _REPAIRED.match(line) for line in lines):
        return sdp
    return "\r\n".join(line for section in _sections(lines) for line in _cleaned(section))


def _sections(lines: list[str]) -> Iterator[list[str]]:
    """What stands before the first section, then each section."""
    section: list[str] = []
    for line in lines:
        if line.startswith("m="):
            yield section
            section = []
        section.append(line)
    yield section


def _cleaned(section: list[str]) -> Iterator[str]:
    payloads = {found[1] for line in section if (found := _RTX.match(line))}
    sources = {source for line in section if (found := _REPAIRS.match(line)) for source in found[1].split()[1:]}
    for line in section:
        payload, source = _PAYLOAD.match(line), _SOURCE.match(line)
        if line.startswith("m="):
            yield _without_payloads(line, payloads)
        elif not (
            (payload and payload[1] in payloads)
            or (source and source[1] in sources)
            or _REPAIRS.match(line)
            or _REPAIRED.match(line)
        ):
            yield line


def _without_payloads(line: str, payloads: set[str]) -> str:
    """A media line keeps one payload type at least, or it could not be parsed."""
    head, types = line.split(" ")[:3], line.split(" ")[3:]
    kept = [payload for payload in types if payload not in payloads]
    return " ".join([*head, *(kept or types[:1])])
