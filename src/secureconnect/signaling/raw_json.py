"""What may be passed on unparsed: JSON that every client can read. Pure.

The syntax of a raw member is checked with its frame. Its numbers and its depth are not: `1e999` is infinite in a browser and an
error in Python, 5000 digits end Python's decoder, and a few thousand brackets end any that recurses (RFC 8259, section 9).
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

MAX_DEPTH = 16
MAX_INTEGER = 2**63
_decode = msgspec.json.Decoder().decode


def find_fault(raw: Raw) -> str | None:
    """Return what is wrong with a raw member, or None."""
    try:
        value = _decode(raw)
    except RecursionError:
        return "nested too deeply"
    except msgspec.DecodeError as failure:
        return str(failure)
    return _find_fault([value], MAX_DEPTH)


def _find_fault(values: Iterable[Any], depth: int) -> str | None:
    if not depth:
        return "nested too deeply"
    for value in values:
        kind = type(value)
        if kind is int and not -MAX_INTEGER <= value < MAX_INTEGER:
            return "a number is out of range"
        if kind is dict or kind is list:
            fault = _find_fault(value.values() if kind is dict else value, depth - 1)
            if fault is not None:
                return fault
    return None
