"""How a topic lies in Redis, and how its entries are written there: keys, channels, and the values read back. Pure.

A topic is four keys that share a hash tag, so Redis Cluster keeps them together: `{topic}:head` (the last seq, and the last number
of each publisher), `{topic}:log` (a capped stream whose ids are the seqs), `{topic}:state` (retained), and the channel `{topic}`.
"""

from typing import Any, NamedTuple

from secureconnect.bus import Entry


class Stored(NamedTuple):
    """What Redis has of a topic: the last seq, the seq before the oldest entry, the entries asked for, the retained state."""

    head: int
    oldest: int
    entries: list[Entry]
    retained: dict[str, bytes]


def channel_of(topic: str) -> str:
    return "{" + topic + "}"


def topic_of(channel: bytes) -> str:
    return channel.decode()[1:-1]


def keys_of(topic: str) -> tuple[str, str, str, str]:
    """Head, log, state, channel."""
    tag = channel_of(topic)
    return f"{tag}:head", f"{tag}:log", f"{tag}:state", tag


def entry_from_stream(raw: Any) -> Entry:
    identifier, fields = raw
    _, sender, _, target, _, body = fields
    return Entry(int(identifier.partition(b"-")[0]), sender.decode(), target.decode(), body)


def entry_from_channel(data: bytes) -> Entry:
    seq, sender, target, body = data.split(b" ", 3)
    return Entry(int(seq), sender.decode(), target.decode(), body)


def stored_from(answer: Any) -> Stored:
    """What the script `READ` answered."""
    seq, first, raw_entries, raw_state = answer
    head = int(seq)
    oldest = int(first.partition(b"-")[0]) - 1 if first else head
    entries = [entry_from_stream(one) for one in raw_entries]
    keys = iter(raw_state if isinstance(raw_state, list) else [item for pair in raw_state.items() for item in pair])
    return Stored(head, oldest, entries, {key.decode(): value for key, value in zip(keys, keys, strict=True)})
