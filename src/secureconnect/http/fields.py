"""Header fields that are lists (RFC 9110, section 5.6.1): one parser for all of them. Pure.

A list may come in one line, in several, with empty elements and with any letter case. What an element means is the caller's.
"""

import re
from collections.abc import Iterable

ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
"""What stands between commas; a comma within quotes separates nothing."""
ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def values_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the lines of one field, in their order. `name` is in lower case, as ASGI has it."""
    return [value.decode("latin-1") for key, value in headers if key == name]


def elements(lines: Iterable[str]) -> list[str]:
    """Return the elements of a list field, without those that are empty."""
    found = (match.strip(" \t") for line in lines for match in ELEMENT.findall(line))
    return [element for element in found if element]


def has_token(lines: Iterable[str], token: str) -> bool:
    """Tell whether a list of tokens (Connection, Upgrade) has this one; `token` is in lower case."""
    return any(element.lower() == token for element in elements(lines))


def accepts(lines: Iterable[str], coding: str) -> bool:
    """Tell whether Accept-Encoding allows a content coding (RFC 9110, section 12.5.3)."""
    weights: dict[str, float] = {}
    for element in elements(lines):
        name, *parameters = (part.strip(" \t").lower() for part in element.split(";"))
        weights[name] = next((_weight(one) for one in parameters if one.startswith("q=")), 1.0)
    return weights.get(coding, weights.get("*", 0.0)) > 0


def _weight(parameter: str) -> float:
    text = parameter.removeprefix("q=")
    return float(text) if re.fullmatch(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", text, re.ASCII) else 0.0


def matches(lines: Iterable[str], tags: Iterable[str]) -> str | None:
    """Return the first of our entity tags that If-None-Match names; None when it names none.

    Weak comparison (RFC 9110, section 8.8.3.2): `W/` is passed over on both sides. `*` names all.
    """
    named = elements(lines)
    opaque = {found[1] for element in named if (found := ENTITY_TAG.fullmatch(element))}
    return next((tag for tag in tags if "*" in named or tag.removeprefix("W/") in opaque), None)
