"""What a node has heard of one topic, and what it holds back until nothing before it is missing. Filled by the bus."""

import asyncio
from collections import deque
from collections.abc import Sequence

from secureconnect.bus import Deliver, Entry
from secureconnect.ops.loops import note_failure

RECENT_ENTRIES = 128
"""Entries of a topic that are known again: more than two people say in the seconds that `lane.RECENT_SECONDS` names."""

HELD_ENTRIES = 1024
HELD_BYTES = 2 * 1024 * 1024
"""What may wait while a subscription catches up. More is dropped, and read from the log once more."""


class Subscription:
    """One topic that somebody here listens to, heard up to `last`. While it begins or catches up, what arrives waits in `held`."""

    def __init__(self, topic: str, deliver: Deliver) -> None:
        self.topic = topic
        self._subscriber = deliver
        self.place = ""
        self.last = 0
        self.begun = False
        self.held: list[Entry] | None = []
        self._held_bytes = 0
        self._dropped = False
        self.confirmed = asyncio.Event()
        self._recent: deque[int] = deque(maxlen=RECENT_ENTRIES)

    def hear(self, entry: Entry) -> bool:
        """Take the next entry; False when those before it are missing."""
        if self.held is not None:
            self._keep(self.held, entry)
        elif entry.seq == self.last + 1 or self.last == 0:
            self._deliver(entry)
        elif entry.seq > self.last:
            self.held, self._held_bytes = [entry], len(entry.body)
            return False
        return True

    def _deliver(self, entry: Entry) -> None:
        """A subscriber must not raise; one that does keeps no other from hearing."""
        self.last = entry.seq
        self._recent.append(hash(entry.body))
        try:
            self._subscriber(entry)
        except Exception as failure:
            note_failure("bus_subscriber", failure)

    def hold(self) -> None:
        """Deliver nothing until `catch_up`."""
        if self.held is None:
            self.held, self._held_bytes = [], 0

    def catch_up(self, missed: Sequence[Entry]) -> bool:
        """Deliver what was missed, then what was held; False when something is missing even so."""
        held, self.held = self.held or [], None
        dropped, self._dropped = self._dropped, False
        # Seqs jump when another server goes on with the log. What nodes send it again has been heard here under its old seq.
        known = set(self._recent) if missed and missed[0].seq > self.last + 1 else ()
        for entry in missed:
            if entry.seq > self.last:
                if hash(entry.body) in known:
                    self.last = entry.seq
                else:
                    self._deliver(entry)
        complete = True
        for entry in held:
            complete = self.hear(entry) and complete
        if dropped and complete:
            self.hold()
        return complete and not dropped

    def _keep(self, held: list[Entry], entry: Entry) -> None:
        self._held_bytes += len(entry.body)
        if len(held) >= HELD_ENTRIES or self._held_bytes > HELD_BYTES:
            held.clear()
            self._held_bytes, self._dropped = len(entry.body), True
        held.append(entry)
