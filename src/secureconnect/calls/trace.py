"""What became of a call's rings, person by person and device by device, as values and in a sentence. Pure.

Made from what is kept anyway: the call, its pushes, the receipts of devices. `calls.traces` fetches these, api.calls and the
command `trace` show the result. A device is named by the end of its id only; no token or address comes here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from secureconnect.calls.call import Call, CallType, EndReason, Participant, Ring, RingEnd, Status
from secureconnect.calls.quality import SessionQuality
from secureconnect.calls.receipts import UNNAMED, Receipt, ReceiptKind
from secureconnect.ids import CallId, ConversationId, DeviceId, UserId, short
from secureconnect.push import Attempt, Kind, Outcome, Record

SOCKET = "socket"
BLOCKED = "Did not ring: the person blocks the one who rang."
NOUNS = {"android": "Android device", "ios": "iPhone", "web": "browser", "desktop": "desktop app"}


class TraceEvent(StrEnum):
    """What can happen to a ring at a device, in the order in which it usually does."""

    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    RETRIED = "retried"
    LOST = "lost"
    FAILED = "failed"
    SKIPPED = "skipped"
    DELIVERED = "delivered"
    SHOWN = "shown"
    REFUSED = "refused"
    ANSWERED = "answered"
    DECLINED = "declined"
    STOPPED = "stopped"


class DeviceOutcome(StrEnum):
    """How the ring ended at one device; the callee's own outcomes, and two that only a device can have."""

    ANSWERED = "answered"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    DECLINED = "declined"
    DECLINED_ELSEWHERE = "declined_elsewhere"
    CANCELLED = "cancelled"
    CALLER_LOST = "caller_lost"
    TIMEOUT = "timeout"


class TraceEntry(Struct, frozen=True):
    """One thing that happened. `via`: a push provider or `socket`; `push`: what was pushed; `detail`: the provider's own words."""

    at: datetime
    event: TraceEvent
    reason: str | None = None
    via: str | None = None
    push: Kind | None = None
    attempt: int | None = None
    detail: str | None = None


class DeviceTrace(Struct, frozen=True):
    """One device of a callee. `device` is the end of its id, null for those without a name; `outcome` is null while it rings."""

    device: str | None
    device_id: DeviceId | None
    platform: str | None
    outcome: DeviceOutcome | None
    reached_at: datetime | None
    shown_at: datetime | None
    events: list[TraceEntry]


class CalleeTrace(Struct, frozen=True):
    """One person who was rung, or was not because they were busy. `outcome` is null while it rings, and where it is not known.

    `blocked`: the ring was withheld because the person blocks who rang; only the person and the operator are told.
    """

    user_id: UserId
    display_name: str
    outcome: RingEnd | None
    waiting: bool
    rang_at: datetime | None
    ring_deadline: datetime | None
    ended_at: datetime | None
    summary: str
    devices: list[DeviceTrace]
    blocked: bool = False


class CallTrace(Struct, frozen=True):
    """A call, what became of its rings, and how well its sessions were connected."""

    call_id: CallId
    conversation_id: ConversationId
    call_type: CallType
    status: Status
    end_reason: EndReason | None
    caller_id: UserId
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    summary: str
    callees: list[CalleeTrace]
    sessions: list[SessionQuality]


class Evidence(Struct, frozen=True):
    """What a trace is made from. `platforms`: by person and device, of those that are registered now."""

    pushes: Sequence[Record]
    receipts: Sequence[Receipt]
    sessions: Sequence[SessionQuality]
    platforms: Mapping[tuple[UserId, DeviceId], str]


def trace_of(call: Call, evidence: Evidence, viewer: UserId | None) -> CallTrace:
    """The trace, with whole device ids of the `viewer`'s own devices only."""
    callees = [_callee(one, call, evidence, viewer) for one in call.participants if one.ring or one.ring_deadline]
    return CallTrace(
        call_id=call.call_id,
        conversation_id=call.conversation_id,
        call_type=call.call_type,
        status=call.status,
        end_reason=call.end_reason,
        caller_id=call.caller_id,
        created_at=call.created_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        summary=_summary_of_call(call, callees),
        callees=callees,
        sessions=list(evidence.sessions),
    )


def _callee(one: Participant, call: Call, evidence: Evidence, viewer: UserId | None) -> CalleeTrace:
    ring = one.ring or Ring(call.created_at)
    known: dict[DeviceId, list[TraceEntry]] = {}
    for record in evidence.pushes:
        if record.user_id == one.user_id:
            known.setdefault(record.device_id, []).extend(_of_push(record))
    for receipt in evidence.receipts:
        if receipt.key.user_id == one.user_id:
            known.setdefault(receipt.key.device_id, []).append(_of_receipt(receipt))
    if ring.end in (RingEnd.ANSWERED, RingEnd.DECLINED):
        known.setdefault(ring.device_id or UNNAMED, [])
    blocked = ring.withheld is not None and viewer in (None, one.user_id)
    devices = [
        _device(device_id, entries, ring, evidence.platforms.get((one.user_id, device_id)), whole=viewer == one.user_id)
        for device_id, entries in known.items()
    ]
    return CalleeTrace(
        user_id=one.user_id,
        display_name=one.display_name,
        outcome=ring.end,
        waiting=ring.waiting,
        rang_at=None if ring.end is RingEnd.BUSY else ring.began_at,
        ring_deadline=one.ring_deadline,
        ended_at=ring.ended_at,
        summary=BLOCKED if blocked else _summary_of_callee(one, ring, devices),
        devices=devices,
        blocked=blocked,
    )


def _device(device_id: DeviceId, entries: list[TraceEntry], ring: Ring, platform: str | None, *, whole: bool) -> DeviceTrace:
    outcome = _outcome_at(device_id, ring)
    if outcome is not None and ring.ended_at is not None:
        own_deeds = {DeviceOutcome.ANSWERED: TraceEvent.ANSWERED, DeviceOutcome.DECLINED: TraceEvent.DECLINED}
        event = own_deeds.get(outcome, TraceEvent.STOPPED)
        reason = outcome if event is TraceEvent.STOPPED else None
        entries = [*entries, TraceEntry(ring.ended_at, event, reason)]
    events = sorted(entries, key=lambda entry: entry.at)  # stable: what was noted first stays first
    return DeviceTrace(
        device=None if device_id == UNNAMED else short(device_id),
        device_id=device_id if whole and device_id != UNNAMED else None,
        platform=platform,
        outcome=outcome,
        reached_at=next((entry.at for entry in events if _reaches(entry)), None),
        shown_at=next((entry.at for entry in events if entry.event is TraceEvent.SHOWN), None),
        events=events,
    )


def _reaches(entry: TraceEntry) -> bool:
    return entry.event in (TraceEvent.DELIVERED, TraceEvent.SHOWN) or (
        entry.event is TraceEvent.ACCEPTED and entry.push is Kind.RING
    )


def _outcome_at(device_id: DeviceId, ring: Ring) -> DeviceOutcome | None:
    if ring.end is None or ring.end is RingEnd.BUSY:
        return None
    is_own = device_id == (ring.device_id or UNNAMED)
    match ring.end:
        case RingEnd.ANSWERED:
            return DeviceOutcome.ANSWERED if is_own else DeviceOutcome.ANSWERED_ELSEWHERE
        case RingEnd.DECLINED:
            return DeviceOutcome.DECLINED if is_own else DeviceOutcome.DECLINED_ELSEWHERE
        case _:
            return DeviceOutcome(ring.end.value)


def _of_receipt(receipt: Receipt) -> TraceEntry:
    event = {
        ReceiptKind.DELIVERED: TraceEvent.DELIVERED,
        ReceiptKind.SHOWN: TraceEvent.SHOWN,
        ReceiptKind.REFUSED: TraceEvent.REFUSED,
    }[receipt.key.kind]
    return TraceEntry(
        receipt.at,
        event,
        reason=receipt.reason or None,
        via=SOCKET if event is TraceEvent.DELIVERED else None,
    )


def _of_push(record: Record) -> Iterator[TraceEntry]:
    """A push from the queue to what became of it, attempt by attempt."""
    via, push = str(record.provider), record.kind
    yield TraceEntry(record.created_at, TraceEvent.QUEUED, via=via, push=push)
    answered = {attempt.number: attempt for attempt in record.history}
    for attempt in record.history:
        earlier = attempt.number - 1
        if earlier >= 1 and earlier not in answered and attempt is record.history[0]:
            # Somebody began and died, or was stopped, before there was an answer: only that is known.
            yield TraceEntry(attempt.sent_at, TraceEvent.LOST, "sender_gone", via, push, earlier)
        yield TraceEntry(attempt.sent_at, TraceEvent.SENT, via=via, push=push, attempt=attempt.number)
        yield _answer(attempt, via, push)
    if record.done_at is not None and record.attempts not in answered:
        reason = str(record.outcome) if record.outcome else None
        yield TraceEntry(record.done_at, TraceEvent.SKIPPED, reason, via, push, detail=record.detail or None)


def _answer(attempt: Attempt, via: str, push: Kind) -> TraceEntry:
    if attempt.outcome == Outcome.DELIVERED:
        event, reason = TraceEvent.ACCEPTED, None
    elif attempt.outcome == "retried":
        event, reason = TraceEvent.RETRIED, None
    else:
        event, reason = TraceEvent.FAILED, attempt.outcome
    return TraceEntry(attempt.answered_at, event, reason, via, push, attempt.number, attempt.detail or None)


# --- In words ---------------------------------------------------------------------------------------------------------------------


def _summary_of_callee(one: Participant, ring: Ring, devices: Sequence[DeviceTrace]) -> str:
    """One sentence for a person at night: on how many devices it rang, where it was seen, how it ended."""
    if ring.end is RingEnd.BUSY:
        return "Did not ring: in another call, and the caller asked not to ring in that case."
    parts = [_where_it_rang(ring, devices), *_what_failed(devices)]
    shown = sorted((device for device in devices if device.shown_at), key=lambda device: device.shown_at or ring.began_at)
    if shown and shown[0].shown_at:
        others = f" and {_count(len(shown) - 1, 'other')}" if len(shown) > 1 else ""
        parts.append(f"shown on {_name(one, shown[0], devices)}{others} after {_seconds(ring.began_at, shown[0].shown_at)}")
    elif any(device.reached_at for device in devices):
        parts.append("no device has said that it showed it")
    refusals = [(device, entry) for device in devices for entry in device.events if entry.event is TraceEvent.REFUSED]
    parts += [f"an answer on {_name(one, device, devices)} was refused ({entry.reason})" for device, entry in refusals]
    parts.append(_how_it_ended(one, ring, devices))
    return "; ".join(parts) + "."


def _where_it_rang(ring: Ring, devices: Sequence[DeviceTrace]) -> str:
    reached = sum(device.reached_at is not None for device in devices)
    manner = " as a second call, during another one," if ring.waiting else ""
    if reached:
        return f"Rang{manner} on {_count(reached, 'device')}"
    if any(entry.event is TraceEvent.QUEUED for device in devices for entry in device.events):
        return f"Rang{manner} on no device that is known to have got it"
    return f"Rang{manner} on no device: none is registered for push, and none had an events socket open"


def _what_failed(devices: Sequence[DeviceTrace]) -> Iterator[str]:
    """The devices that nothing reached, and what the last word about their ring was."""
    for device in devices:
        rings = [entry for entry in device.events if entry.push is Kind.RING]
        if device.reached_at is not None or not rings:
            continue
        last = rings[-1]
        noun = NOUNS.get(device.platform or "", "device")
        words = {
            TraceEvent.QUEUED: f"a push by {last.via} waits and nobody sent it",
            TraceEvent.RETRIED: f"{last.via} has not taken the push yet",
            TraceEvent.FAILED: f"{last.via} did not take the push ({last.reason})",
            TraceEvent.SKIPPED: f"the push by {last.via} was not sent ({last.reason})",
        }
        detail = f", it said {last.detail!r}" if last.detail and last.event is not TraceEvent.SKIPPED else ""
        yield f"the {noun} was not reached: {words.get(last.event, f'{last.via} has not answered yet')}{detail}"


def _how_it_ended(one: Participant, ring: Ring, devices: Sequence[DeviceTrace]) -> str:
    if ring.end is None or ring.ended_at is None:
        return "still rings" if one.state == "ringing" else "how it ended is not known any more"
    after = _seconds(ring.began_at, ring.ended_at)
    own = next((device for device in devices if device.outcome in (DeviceOutcome.ANSWERED, DeviceOutcome.DECLINED)), None)
    where = "" if own is None else f" on {_name(one, own, devices)}"
    match ring.end:
        case RingEnd.ANSWERED:
            return f"answered{where} after {after}"
        case RingEnd.DECLINED:
            return f"declined{where} after {after}"
        case RingEnd.TIMEOUT:
            return f"not answered within {_seconds(ring.began_at, one.ring_deadline or ring.ended_at)}"
        case RingEnd.CALLER_LOST:
            return f"taken back after {after}, because the caller's connection was lost"
        case _:
            return f"taken back after {after}"


def _name(one: Participant, device: DeviceTrace, devices: Iterable[DeviceTrace]) -> str:
    """`Linus's browser`; with the end of its id where there are two of the kind."""
    noun = NOUNS.get(device.platform or "", "device")
    is_one_of_several = sum(NOUNS.get(other.platform or "", "device") == noun for other in devices) > 1
    which = f" {device.device or 'without a name'}" if is_one_of_several else ""
    return f"{one.display_name}'s {noun}{which}"


def _summary_of_call(call: Call, callees: Sequence[CalleeTrace]) -> str:
    caller = call.participant(call.caller_id)
    name = caller.display_name if caller else "Somebody"
    named = callees[0].display_name if len(callees) == 1 else _count(len(callees), "person", "people")
    ends = {
        Status.RINGING: "it still rings",
        Status.ACTIVE: "it was answered and goes on",
        Status.ENDED: "it was answered, and is over",
        Status.MISSED: "nobody answered",
        Status.DECLINED: "it was declined",
    }
    why = f" ({call.end_reason})" if call.end_reason else ""
    return f"{name} rang {named}; {ends[call.status]}{why}."


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"1 {one}" if number == 1 else f"{number} {many or one + 's'}"


def _seconds(begun: datetime, moment: datetime) -> str:
    return f"{round(max(0.0, (moment - begun).total_seconds()), 1):g} s"
