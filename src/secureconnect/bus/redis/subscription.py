"""What a node has heard of one topic, and what it holds back until nothing before it is missing. Filled by the bus."""

import asyncio
from collections.abc import Sequence

from secureconnect.bus import Deliver, Entry


class Subscription:
    """One topic that somebody here listens to, heard up to `last`. While it begins or catches up, what arrives waits in `held`."""

    def __init__(self, topic: str, deliver: Deliver) -> None:
        self.topic = topic
        self.deliver = deliver
        self.place = ""
        self.last = 0
        self.begun = False
        self.held: list[Entry] | None = []
        self.confirmed = asyncio.Event()

    def hear(self, entry: Entry) -> bool:
        """Take the next entry; False when those before it are missing."""
        if self.held is not None:
            self.held.append(entry)
        elif entry.seq == self.last + 1 or self.last == 0:
            self.last = entry.seq
            self.deliver(entry)
        elif entry.seq > self.last:
            self.held = [entry]
            return False
        return True

    def hold(self) -> None:
        """Deliver nothing until `catch_up`."""
        if self.held is None:
            self.held = []

    def catch_up(self, missed: Sequence[Entry]) -> bool:
        """Deliver what was missed, then what was held; False when something is missing even so."""
        held, self.held = self.held or [], None
        for entry in missed:
            if entry.seq > self.last:
                self.last = entry.seq
                self.deliver(entry)
        complete = True
        for entry in held:
            complete = self.hear(entry) and complete
        return complete
