"""Pushes as values, and what a sender of them is. The outbox and every sender are written in these words; nothing is done here.

What is pushed when is in `push.queue`, how it is sent at least once in `push.outbox`, a provider's protocol in a module of its own.
"""

from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from secureconnect.ids import CallId, DeviceId, UserId


class Provider(StrEnum):
    """Who carries a push to the device."""

    FCM = "fcm"
    APNS = "apns"
    APNS_VOIP = "apns_voip"
    WEBPUSH = "webpush"
    LOG = "log"


class Kind(StrEnum):
    """What a push asks of a device."""

    RING = "ring"
    CANCEL = "cancel"
    MISSED = "missed"


class Outcome(StrEnum):
    """How a push ended.

    `delivered`: the provider took it. `expired`: nobody took it in time. `overtaken`: nobody rings any more, so it was not sent.
    """

    DELIVERED = "delivered"
    GONE = "gone"
    REFUSED = "refused"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"


class Attempt(Struct, frozen=True):
    """One attempt to send a push, the `number`-th, and what came of it: an Outcome, or `retried`."""

    number: int
    sent_at: datetime
    answered_at: datetime
    outcome: str
    detail: str


class Push(Struct, frozen=True):
    """One push on its way to one device. `payload` is flat, since FCM carries nothing else; `attempts` counts this one.

    `history` are the attempts before this one whose end is known: of a process that died in the middle it is not.
    `queued_at` is when its row was written, None until it is. `service` is who of the provider's takes it: a push service's origin.
    """

    push_id: UUID
    call_id: CallId
    user_id: UserId
    device_id: DeviceId
    provider: Provider
    kind: Kind
    payload: dict[str, str]
    expires_at: datetime
    address: str
    attempts: int = 1
    history: tuple[Attempt, ...] = ()
    queued_at: datetime | None = None
    service: str = ""

    def seconds_left(self, now: datetime) -> int:
        """How long this is worth delivering, whole seconds; 0 is now or never."""
        return max(0, int((self.expires_at - now).total_seconds()))


class Record(Struct, frozen=True):
    """All that is known of a push, done or not. Done without an attempt of the last number: it was closed, and not sent again."""

    user_id: UserId
    device_id: DeviceId
    provider: Provider
    kind: Kind
    created_at: datetime
    expires_at: datetime
    attempts: int
    history: tuple[Attempt, ...]
    is_under_way: bool
    done_at: datetime | None
    outcome: Outcome | None
    detail: str


class Delivered(Struct, frozen=True):
    """The provider took it. `detail` is its name for it."""

    detail: str = ""


class Retry(Struct, frozen=True):
    """Not now: again after `after` seconds if the provider said so, else after a growing pause."""

    detail: str
    after: float | None = None


class Gone(Struct, frozen=True):
    """The device's address is no more: forget it."""

    detail: str


class Refused(Struct, frozen=True):
    """It would be refused again: a fault in the settings or in the push."""

    detail: str


Verdict = Delivered | Retry | Gone | Refused


class Sender(Protocol):
    """One provider's protocol. `detail` in its verdicts goes into the log: nothing secret."""

    async def send(self, push: Push) -> Verdict:
        """Hand it to the provider. May be cancelled when it takes too long; what it raises counts as Retry."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
