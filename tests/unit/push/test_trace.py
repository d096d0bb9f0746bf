"""The trace of every outcome tells the truth: who rang, what each provider said, what was shown, how it ended, in one sentence."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from secureconnect.calls.call import Call, CallType
from secureconnect.calls.service import InitiateRequest
from secureconnect.calls.trace import CalleeTrace, DeviceTrace
from secureconnect.clock import SystemClock
from secureconnect.errors import AnsweredElsewhere, NotFound
from secureconnect.ids import DeviceId, UserId, short
from secureconnect.push import Delivered, Gone, Provider, Push, Refused, Retry, Verdict
from secureconnect.store import Database
from tests.fakes.clock import ManualClock
from tests.unit.push.conftest import Phone, Switchboard

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def board(database: Database, clock: ManualClock) -> Switchboard:
    return Switchboard(database, clock)


class Ringing:
    """Linus has an Android phone by FCM and a browser by the log; Ada has rung him, and both pushes were answered."""

    def __init__(self, board: Switchboard, clock: ManualClock) -> None:
        self.board = board
        self.clock = clock
        self.senders: dict[Provider, Phone] = {}

    async def begin(self, fcm: Callable[[Push], Verdict] = lambda _: Delivered("200")) -> "Ringing":
        board = self.board
        self.ada, self.linus = await board.person("Ada"), await board.person("Linus")
        self.phone = await board.device(self.linus, Provider.FCM, platform="android")
        self.browser = await board.device(self.linus, Provider.LOG, platform="web")
        conversation = await board.chat.create(self.ada, [self.linus])
        self.conversation_id = conversation.conversation_id
        self.senders = {Provider.FCM: Phone(fcm), Provider.LOG: Phone()}
        async with board.sending(dict(self.senders)):
            request = InitiateRequest(self.conversation_id, CallType.VIDEO, (self.linus,), timedelta(seconds=45))
            self.call: Call = await board.calls.initiate(self.ada, request)
            await board.outcomes(2)
        return self

    async def show(self, device: DeviceId, after: float) -> None:
        self.clock.advance(after)
        self.board.receipts.shown(self.linus, self.call.call_id, device)
        await self.board.receipts.flush()

    async def callee(self, viewer: UserId | None = None) -> CalleeTrace:
        (callee,) = (await self.board.traces.trace(self.call.call_id, viewer or self.ada)).callees
        return callee

    async def device(self, device_id: DeviceId) -> DeviceTrace:
        return next(one for one in (await self.callee()).devices if one.device == short(device_id))


@pytest.fixture
def ringing(board: Switchboard, clock: ManualClock) -> Ringing:
    return Ringing(board, clock)


def events(device: DeviceTrace) -> list[str]:
    """`event`, with what was pushed and why where that is known."""
    return [" ".join(filter(None, (entry.event, entry.push, entry.reason))) for entry in device.events]


class TestOutcomes:
    async def test_answered_and_answered_elsewhere(self, ringing: Ringing, clock: ManualClock, board: Switchboard) -> None:
        await ringing.begin()
        await ringing.show(ringing.phone, after=0.4)
        clock.advance(2.8)
        await board.calls.join(ringing.linus, ringing.call.call_id, ringing.phone)
        clock.advance(1)
        with suppress(AnsweredElsewhere):
            await board.calls.join(ringing.linus, ringing.call.call_id, ringing.browser)
        await board.receipts.flush()
        callee = await ringing.callee()
        assert callee.outcome == "answered"
        assert events(await ringing.device(ringing.phone)) == ["queued ring", "sent ring", "accepted ring", "shown", "answered"]
        browser = await ringing.device(ringing.browser)
        assert browser.outcome == "answered_elsewhere"
        assert events(browser)[3:] == ["queued cancel", "stopped answered_elsewhere", "refused answered_elsewhere"]
        assert callee.summary == (
            "Rang on 2 devices; shown on Linus's Android device after 0.4 s; "
            "an answer on Linus's browser was refused (answered_elsewhere); answered on Linus's Android device after 3.2 s."
        )

    async def test_declined_and_declined_elsewhere(self, ringing: Ringing, clock: ManualClock, board: Switchboard) -> None:
        await ringing.begin()
        clock.advance(5)
        await board.calls.decline(ringing.linus, ringing.call.call_id, ringing.browser)
        assert (await ringing.device(ringing.browser)).outcome == "declined"
        assert (await ringing.device(ringing.phone)).outcome == "declined_elsewhere"
        assert (await ringing.callee()).summary == (
            "Rang on 2 devices; no device has said that it showed it; declined on Linus's browser after 5 s."
        )

    async def test_cancelled(self, ringing: Ringing, clock: ManualClock, board: Switchboard) -> None:
        await ringing.begin()
        clock.advance(7)
        await board.calls.end(ringing.ada, ringing.call.call_id)
        trace = await board.traces.trace(ringing.call.call_id, ringing.ada)
        assert {device.outcome for device in trace.callees[0].devices} == {"cancelled"}
        assert trace.callees[0].summary.endswith("taken back after 7 s.")
        assert trace.summary == "Ada rang Linus; nobody answered (cancelled)."

    async def test_the_caller_was_lost(self, ringing: Ringing, clock: ManualClock, board: Switchboard) -> None:
        await ringing.begin()
        clock.advance(30)
        await board.calls.tick(ringing.call.call_id)
        callee = await ringing.callee()
        assert callee.outcome == "caller_lost"
        assert callee.summary.endswith("taken back after 30 s, because the caller's connection was lost.")

    async def test_timed_out(self, ringing: Ringing, clock: ManualClock, board: Switchboard) -> None:
        await ringing.begin()
        await board.calls.open_session(ringing.ada, ringing.call.call_id, None, None)
        await ringing.show(ringing.browser, after=1)
        clock.advance(44.5)
        await board.calls.tick(ringing.call.call_id)
        callee = await ringing.callee()
        assert callee.outcome == "timeout"
        assert callee.summary == "Rang on 2 devices; shown on Linus's browser after 1 s; not answered within 45 s."

    async def test_busy(self, ringing: Ringing, board: Switchboard) -> None:
        await ringing.begin()
        await board.calls.join(ringing.linus, ringing.call.call_id, ringing.phone)
        request = InitiateRequest(
            ringing.conversation_id, CallType.AUDIO, (ringing.linus,), timedelta(seconds=45), reject_busy=True
        )
        second = await board.calls.initiate(ringing.ada, request)
        (callee,) = (await board.traces.trace(second.call_id)).callees
        assert (callee.outcome, callee.rang_at, callee.devices) == ("busy", None, [])
        assert callee.summary == "Did not ring: in another call, and the caller asked not to ring in that case."

    async def test_waiting(self, ringing: Ringing, board: Switchboard) -> None:
        await ringing.begin()
        await board.calls.join(ringing.linus, ringing.call.call_id, ringing.phone)
        second = await board.ring_in(ringing.conversation_id, ringing.ada, ringing.linus)
        await board.calls.join(ringing.linus, second.call_id, ringing.phone)
        (callee,) = (await board.traces.trace(second.call_id)).callees
        assert (callee.waiting, callee.outcome) == (True, "answered"), "known also after it no longer waits"
        assert callee.summary.startswith("Rang as a second call, during another one, on no device that is known to have got it; ")

    async def test_one_that_rings_still(self, ringing: Ringing) -> None:
        await ringing.begin()
        callee = await ringing.callee()
        assert (callee.outcome, callee.ended_at) == (None, None)
        assert callee.summary.endswith("; still rings.")


class TestDevices:
    async def test_nothing_to_ring_on(self, board: Switchboard) -> None:
        ada, linus = await board.person("Ada"), await board.person("Linus")
        call = await board.ring(ada, linus)
        (callee,) = (await board.traces.trace(call.call_id, ada)).callees
        assert callee.summary == (
            "Rang on no device: none is registered for push, and none had an events socket open; still rings."
        )

    async def test_what_the_provider_said(self, ringing: Ringing) -> None:
        await ringing.begin(fcm=lambda _: Gone("404 UNREGISTERED"))
        phone = await ringing.device(ringing.phone)
        assert (phone.reached_at, phone.events[-1].detail) == (None, "404 UNREGISTERED")
        assert events(phone) == ["queued ring", "sent ring", "failed ring gone"]
        summary = (await ringing.callee()).summary
        assert summary.startswith(
            "Rang on 1 device; the device was not reached: fcm did not take the push (gone), it said '404 UNREGISTERED'; "
        ), "it is registered no more, so what it was is not known"

    async def test_every_attempt(self, database: Database, clock: ManualClock) -> None:
        answers: Iterator[Verdict] = iter([Retry("503", after=0.0), Refused("400 bad topic")])
        ringing = await Ringing(Switchboard(database, SystemClock()), clock).begin(fcm=lambda _: next(answers))
        phone = await ringing.device(ringing.phone)
        assert events(phone) == ["queued ring", "sent ring", "retried ring", "sent ring", "failed ring refused"]
        assert [entry.attempt for entry in phone.events] == [None, 1, 1, 2, 2]
        assert [entry.detail for entry in phone.events] == [None, None, "503", None, "400 bad topic"]
        moments = [entry.at for entry in phone.events]
        assert moments == sorted(moments)

    async def test_a_ring_that_was_overtaken_was_not_sent(self, board: Switchboard) -> None:
        ada, linus = await board.person("Ada"), await board.person("Linus")
        await board.device(linus)
        call = await board.ring(ada, linus)
        await board.calls.end(ada, call.call_id)
        async with board.sending({Provider.LOG: Phone()}):
            await board.outcomes(2)
        (device,) = (await board.traces.trace(call.call_id, ada)).callees[0].devices
        assert "skipped ring overtaken" in events(device)
        assert "sent ring" not in events(device)
        assert device.reached_at is None, "the notice that came through is not the ring"

    async def test_a_sender_that_died_is_told_of(self, ringing: Ringing, board: Switchboard, clock: ManualClock) -> None:
        ada, linus = await board.person("Ada"), await board.person("Linus")
        await board.device(linus)
        dying = Phone()
        dying.may_answer.clear()
        async with board.sending({Provider.LOG: dying}):
            call = await board.ring(ada, linus)
            await dying.heard(1)
        clock.advance(13)
        async with board.sending({Provider.LOG: Phone()}):
            await board.outcomes(1)
        (device,) = (await board.traces.trace(call.call_id, ada)).callees[0].devices
        assert events(device) == ["queued ring", "lost ring sender_gone", "sent ring", "accepted ring"]
        assert [entry.attempt for entry in device.events] == [None, 1, 2, 2]

    async def test_a_socket_is_a_way_too(self, board: Switchboard, ringing: Ringing) -> None:
        ada, linus = await board.person("Ada"), await board.person("Linus")
        call = await board.ring(ada, linus)
        device = DeviceId(ringing.board.ids.new())
        board.receipts.delivered(linus, call.call_id, device)
        board.receipts.delivered(linus, call.call_id, None)
        await board.receipts.flush()
        callee = (await board.traces.trace(call.call_id, linus)).callees[0]
        assert {(one.device, one.device_id) for one in callee.devices} == {(short(device), device), (None, None)}
        assert [(entry.event, entry.via) for one in callee.devices for entry in one.events] == [("delivered", "socket")] * 2
        assert callee.summary.startswith("Rang on 2 devices; ")


class TestReceipts:
    async def test_one_of_a_kind_and_the_first_counts(self, ringing: Ringing, board: Switchboard) -> None:
        await ringing.begin()
        await ringing.show(ringing.phone, after=1)
        await ringing.show(ringing.phone, after=1)
        phone = await ringing.device(ringing.phone)
        assert events(phone).count("shown") == 1
        assert phone.shown_at == ringing.call.created_at + timedelta(seconds=1)

    async def test_of_a_call_that_rang_somebody_else_nothing_is_kept(self, ringing: Ringing, board: Switchboard) -> None:
        await ringing.begin()
        mallory = await board.person("Mallory")
        board.receipts.shown(mallory, ringing.call.call_id, ringing.phone)
        board.receipts.shown(ringing.ada, ringing.call.call_id, ringing.phone)
        await board.receipts.flush()
        assert "shown" not in events(await ringing.device(ringing.phone))

    async def test_others_see_the_end_of_a_device_id_only(self, ringing: Ringing) -> None:
        await ringing.begin()
        assert {one.device_id for one in (await ringing.callee(ringing.ada)).devices} == {None}
        assert {one.device_id for one in (await ringing.callee(ringing.linus)).devices} == {ringing.phone, ringing.browser}

    async def test_no_member_no_trace(self, ringing: Ringing, board: Switchboard) -> None:
        await ringing.begin()
        with pytest.raises(NotFound):
            await board.traces.trace(ringing.call.call_id, await board.person("Mallory"))

    async def test_no_address_is_in_a_trace(self, ringing: Ringing, board: Switchboard) -> None:
        await ringing.begin()
        said = str(await board.traces.trace(ringing.call.call_id, ringing.linus))
        for push in [*ringing.senders[Provider.FCM].pushes, *ringing.senders[Provider.LOG].pushes]:
            assert push.address
            assert push.address not in said
            assert "ring_token" not in said
