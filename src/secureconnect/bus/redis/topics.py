"""How a topic lies in Redis, and how its entries are written there: keys, channels, arguments, and the values read back. Pure.

A topic is four keys that share a hash tag, so Redis Cluster keeps them together: `{topic}:head` (the last seq, the run id of the
server that gave it, and the last number of each publisher), `{topic}:log` (a capped stream whose ids are the seqs), `{topic}:state`
(retained), and the channel `{topic}`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot

from secureconnect.bus import Acknowledge, Entry
from secureconnect.bus.bounds import LOG_ENTRIES, bytes_of_log
from secureconnect.bus.redis.scripts import CALL_SECONDS, LOG_SECONDS

Words = tuple[str | bytes | int, ...]
"""A command or its arguments, as the client library's encoder takes them."""


class Pending(NamedTuple):
    """One entry that Redis does not have yet, or has not been heard to have. Numbers count what this node publishes."""

    number: int
    topic: str
    body: bytes
    sender: str
    target: str
    retain: tuple[str, bytes | None] | None
    acknowledge: Acknowledge | None


class Stored(NamedTuple):
    """What Redis has of a topic: the last seq, the seq before the oldest entry, the entries asked for, the retained state."""

    head: int
    oldest: int
    entries: list[Entry]
    retained: dict[str, bytes]


def channel_of(topic: str) -> bytes:
    return b"{%b}" % topic.encode()


def topic_of(channel: bytes) -> str:
    return channel[1:-1].decode()


def slot_of(topic: str) -> int:
    """The hash slot of a topic's keys (0 to 16383), as Redis Cluster counts it."""
    return int(key_slot(topic.encode()))


def keys_of(topic: str) -> tuple[str, str, str, str]:
    """Head, log, state, channel."""
    tag = "{" + topic + "}"
    return f"{tag}:head", f"{tag}:log", f"{tag}:state", tag


def append_arguments(publisher: str, server: str, topic: str, entries: Sequence[Pending]) -> Words:
    """Number of keys, keys and arguments of the script `APPEND`, for entries of one topic in the order of their numbers."""
    keep = CALL_SECONDS if topic.startswith("call:") else LOG_SECONDS
    words: list[str | bytes | int] = [
        4,
        *keys_of(topic),
        publisher,
        server,
        LOG_ENTRIES,
        LOG_SECONDS,
        keep,
        bytes_of_log(topic),
    ]
    for one in entries:
        words += (one.number, one.sender, one.target, one.body)
        if one.retain is None:
            words += ("", "", "")
        else:
            key, value = one.retain
            words += ("remove", key, "") if value is None else ("set", key, value)
    return tuple(words)


def entry_from_stream(raw: Any) -> Entry:
    identifier, fields = raw
    _, sender, _, target, _, body = fields
    return Entry(int(identifier.partition(b"-")[0]), sender.decode(), target.decode(), body)


def entries_from_channel(data: bytes) -> Iterator[Entry]:
    """Each is a line `seq sender target length` and a body of that length."""
    at = 0
    while at < len(data):
        end_of_line = data.index(b"\n", at)
        seq, sender, target, length = data[at:end_of_line].split(b" ")
        at = end_of_line + 1 + int(length)
        yield Entry(int(seq), sender.decode(), target.decode(), data[end_of_line + 1 : at])


def stored_from(answer: Any) -> Stored:
    """What the script `READ` answered."""
    seq, first, raw_entries, raw_state = answer
    head = int(seq)
    oldest = int(first.partition(b"-")[0]) - 1 if first else head
    entries = [entry_from_stream(one) for one in raw_entries]
    keys = iter(raw_state)
    return Stored(head, oldest, entries, {key.decode(): value for key, value in zip(keys, keys, strict=True)})
