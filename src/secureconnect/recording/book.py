"""Starts and stops of recordings, written down in the transaction that changes the call. Called by calls.service. Makes no film."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call
from secureconnect.calls.commands import Event, RecordingStarted, RecordingStopped
from secureconnect.store import recordings as store

SETTLED = timedelta(seconds=3)
"""How long after the stop the SFU's files are looked at: its nodes have told it by then, and it has closed them."""


class RecordingBook:
    """`kept` is how long a recording is kept after its stop. Nobody is woken: a film is due seconds later, and is looked for."""

    def __init__(self, kept: timedelta) -> None:
        self._kept = kept

    async def note(self, connection: AsyncConnection, call: Call, events: Sequence[Event], now: datetime) -> None:
        """Write down what `events` of the saved `call` mean. May run twice, like the transaction it is in."""
        for event in events:
            match event:
                case RecordingStarted(recording):
                    await store.begin(connection, call, recording)
                case RecordingStopped(recording):
                    due_at, kept_until = now + SETTLED, now + self._kept
                    await store.stop(connection, recording.recording_id, now, due_at=due_at, kept_until=kept_until)
                case _:
                    pass
