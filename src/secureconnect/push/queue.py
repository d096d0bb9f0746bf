"""What is pushed when: events of a call become rows of the outbox, in the transaction that changes the call.

Called by calls.service. Sends nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.ring_tokens import RingTokens
from secureconnect.calls.call import Call
from secureconnect.calls.commands import AnsweredByDevice, Cancelled, DeclinedByDevice, Event, Missed, Rang
from secureconnect.ids import IdFactory, UserId
from secureconnect.push import Kind, Provider, Push
from secureconnect.push.subscription import Subscription, origin_of
from secureconnect.store.devices import Device, devices_of
from secureconnect.store.push import insert_pushes

CANCEL_LIFE = timedelta(minutes=1)
"""A device that has not heard by then has stopped by itself: a ring carries its own end."""
MISSED_LIFE = timedelta(days=1)
SERVICE_CHARS = 255
"""No host has a longer name; what a client made up is cut off."""
_subscription = msgspec.json.Decoder(Subscription)


class PushQueue:
    """Writes pushes down; `wake` tells the outbox of this process that there are some."""

    def __init__(self, *, ids: IdFactory, ring_tokens: RingTokens, wake: Callable[[], None]) -> None:
        self._ids = ids
        self._ring_tokens = ring_tokens
        self.wake = wake

    async def enqueue(self, connection: AsyncConnection, call: Call, events: Sequence[Event], now: datetime) -> bool:
        """Queue what `events` of the saved `call` mean for people's devices. Says whether that was anything.

        May run twice, like the transaction it is in. After the commit, call `wake`.
        """
        withheld = {participant.user_id for participant in call.participants if participant.is_withheld}
        concerning = [
            event
            for event in events
            if isinstance(event, Rang | AnsweredByDevice | DeclinedByDevice | Missed) and event.user_id not in withheld
        ]
        if not concerning:
            return False
        devices: dict[UserId, list[Device]] = {}
        for device in await devices_of(connection, {event.user_id for event in concerning}):
            devices.setdefault(device.user_id, []).append(device)
        pushes = [push for event in concerning for push in self._pushes(event, call, devices, events, now)]
        await insert_pushes(connection, pushes, now)
        return bool(pushes)

    def _pushes(
        self,
        event: Rang | AnsweredByDevice | DeclinedByDevice | Missed,
        call: Call,
        devices: dict[UserId, list[Device]],
        events: Sequence[Event],
        now: datetime,
    ) -> Iterator[Push]:
        theirs = devices.get(event.user_id, [])
        match event:
            case Rang(user_id, waiting):
                one = call.participant(user_id)
                deadline = one.ring_deadline if one is not None and one.ring_deadline is not None else now
                words = {"type": "call.incoming", "waiting": "true" if waiting else "false"}
                yield from self._make(Kind.RING, call, words, _that_ring(theirs), deadline)
            case AnsweredByDevice(_, device_id):
                others = [device for device in _that_show(theirs) if device.device_id != device_id]
                yield from self._make(Kind.CANCEL, call, {"type": "call.answered_elsewhere"}, others, now + CANCEL_LIFE)
            case DeclinedByDevice(_, device_id):
                others = [device for device in _that_show(theirs) if device.device_id != device_id]
                yield from self._make(Kind.CANCEL, call, {"type": "call.declined_elsewhere"}, others, now + CANCEL_LIFE)
            case Missed(user_id):
                # One push, not a cancel and a notice: two could arrive in the wrong order, and the notice would be gone.
                words = {"type": "call.missed", "reason": "cancelled" if Cancelled(user_id) in events else "timeout"}
                yield from self._make(Kind.MISSED, call, words, _that_show(theirs), now + MISSED_LIFE)

    def _make(
        self, kind: Kind, call: Call, words: dict[str, str], devices: Iterable[Device], expires_at: datetime
    ) -> Iterator[Push]:
        caller = call.participant(call.caller_id)
        payload = words | {
            "call_id": str(call.call_id),
            "conversation_id": str(call.conversation_id),
            "call_type": str(call.call_type),
            "caller_id": str(call.caller_id),
            "caller_name": caller.display_name if caller is not None else "",
            "created_at": call.created_at.isoformat(),
            "expires_at": expires_at.isoformat(),
        }
        for device in devices:
            yield Push(
                push_id=self._ids.new(),
                call_id=call.call_id,
                user_id=device.user_id,
                device_id=device.device_id,
                provider=device.provider,
                kind=kind,
                payload=payload | self._for_one(kind, call, device, expires_at),
                expires_at=expires_at,
                address=device.address,
                service=_service_of(device),
            )

    def _for_one(self, kind: Kind, call: Call, device: Device, expires_at: datetime) -> dict[str, str]:
        """What differs from device to device. The token goes only where the push is encrypted for the device alone."""
        whom = {"user_id": str(device.user_id)}
        if kind is not Kind.RING or device.provider is not Provider.WEBPUSH:
            return whom
        return whom | {"ring_token": self._ring_tokens.issue(device.user_id, call.call_id, expires_at)}


def _that_ring(devices: Sequence[Device]) -> list[Device]:
    """Each device once: one that has calls by VoIP would ring twice by its other token."""
    by_voip = {device.device_id for device in devices if device.provider is Provider.APNS_VOIP}
    return [device for device in devices if device.provider is not Provider.APNS or device.device_id not in by_voip]


def _that_show(devices: Sequence[Device]) -> list[Device]:
    """All but VoIP: iOS ends an app that gets such a push and shows no new call."""
    return [device for device in devices if device.provider is not Provider.APNS_VOIP]


def _service_of(device: Device) -> str:
    """A browser's push service; other providers are one each."""
    if device.provider is not Provider.WEBPUSH:
        return ""
    return origin_of(_subscription.decode(device.address).endpoint)[:SERVICE_CHARS]
