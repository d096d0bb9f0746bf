"""The outbox: what is queued for whom, sent at least once, tried again while it is worth it, and never sent when it is over."""

import json
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from secureconnect.ids import NodeId, UserId
from secureconnect.push import Delivered, Gone, Kind, Outcome, Provider, Push, Refused, Retry, Verdict
from secureconnect.store import Database
from secureconnect.store import push as store
from tests.fakes.clock import ManualClock
from tests.unit.push.conftest import Phone, Switchboard

pytestmark = pytest.mark.anyio


def first_then(first: Verdict, then: Verdict) -> Callable[[Push], Verdict]:
    """Answers the first attempt one way, later ones another."""
    return lambda push: first if push.attempts == 1 else then


async def two(board: Switchboard) -> tuple[UserId, UserId]:
    return await board.person("Ada"), await board.person("Linus")


class TestWhatIsQueued:
    async def test_a_ring_goes_to_each_device_of_the_callee_and_to_nobody_else(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(ada)
        theirs = {await board.device(linus), await board.device(linus, Provider.FCM)}
        call = await board.ring(ada, linus)
        rows = await board.rows()
        assert {row.device_id for row in rows} == theirs
        assert {(row.user_id, row.kind, row.expires_at) for row in rows} == {(linus, "ring", call.participants[1].ring_deadline)}
        payload = json.loads(rows[0].payload)
        assert all(isinstance(value, str) for value in payload.values())
        assert payload["type"] == "call.incoming"
        assert payload["call_id"] == str(call.call_id)
        assert (payload["caller_id"], payload["caller_name"], payload["call_type"]) == (str(ada), "Ada", "video")

    async def test_a_phone_with_voip_rings_once_and_is_told_of_the_rest_by_its_other_token(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        phone = await board.device(linus, Provider.APNS_VOIP)
        await board.device(linus, Provider.APNS, phone)
        call = await board.ring(ada, linus)
        await board.calls.end(ada, call.call_id)
        assert [(row.provider, row.kind) for row in await board.rows()] == [("apns_voip", "ring"), ("apns", "missed")]

    @pytest.mark.parametrize("deed", ["join", "decline"])
    async def test_the_other_devices_are_told_to_stop(self, board: Switchboard, deed: str) -> None:
        ada, linus = await two(board)
        here, there = await board.device(linus), await board.device(linus)
        call = await board.ring(ada, linus)
        await getattr(board.calls, deed)(linus, call.call_id, here)
        cancels = [row for row in await board.rows() if row.kind == "cancel"]
        assert [row.device_id for row in cancels] == [there]
        words = {"join": "call.answered_elsewhere", "decline": "call.declined_elsewhere"}
        assert json.loads(cancels[0].payload)["type"] == words[deed]

    async def test_a_ring_that_is_taken_back_is_one_notice(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        call = await board.ring(ada, linus)
        await board.calls.leave(ada, call.call_id)
        last = (await board.rows())[-1]
        assert (last.kind, json.loads(last.payload)["reason"]) == ("missed", "cancelled")

    async def test_a_ring_that_nobody_answers_is_one_notice(self, database: Database) -> None:
        clock = ManualClock()
        board = Switchboard(database, clock)
        ada, linus = await two(board)
        await board.device(linus)
        call = await board.ring(ada, linus, seconds=20)
        clock.advance(21)
        await board.calls.tick(call.call_id)
        await board.calls.tick(call.call_id)
        last = (await board.rows())[-1]
        assert (last.kind, json.loads(last.payload)["reason"]) == ("missed", "timeout")
        assert len(await board.rows()) == 2

    async def test_what_is_refused_queues_nothing(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        stranger = await board.person("Mallory")
        await board.device(stranger)
        conversation = await board.chat.create(ada, [linus])
        with pytest.raises(Exception, match="member"):
            await board.ring_in(conversation.conversation_id, ada, stranger)
        assert await board.rows() == []


class TestSending:
    async def test_a_ring_leaves_at_once_and_is_done(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        device = await board.device(linus)
        phone = Phone()
        async with board.sending({Provider.LOG: phone}):
            call = await board.ring(ada, linus)
            assert await board.outcomes(1) == ["delivered"]
        (push,) = phone.pushes
        assert (push.device_id, push.call_id, push.kind, push.attempts) == (device, call.call_id, Kind.RING, 1)

    async def test_what_was_queued_while_nobody_sent_is_found(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        await board.ring(ada, linus)
        phone = Phone()
        async with board.sending({Provider.LOG: phone}):
            assert await board.outcomes(1) == ["delivered"]

    async def test_a_provider_that_is_busy_is_asked_again_when_it_said(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        phone = Phone(first_then(Retry("503", after=1.0), Delivered()))
        async with board.sending({Provider.LOG: phone}):
            begun = board.clock.monotonic()
            await board.ring(ada, linus)
            assert await board.outcomes(1) == ["delivered"]
            assert 1.0 <= board.clock.monotonic() - begun < 3.0
        assert [push.attempts for push in phone.pushes] == [1, 2]

    async def test_a_ring_that_cannot_be_sent_in_time_is_parked(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        phone = Phone(lambda _: Retry("no", after=60.0))
        async with board.sending({Provider.LOG: phone}):
            await board.ring(ada, linus, seconds=30)
            assert await board.outcomes(1) == ["expired"]
        assert (await board.rows())[0].detail == "no"

    async def test_an_address_that_is_gone_is_forgotten(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        async with board.sending({Provider.LOG: Phone(lambda _: Gone("unregistered"))}):
            await board.ring(ada, linus)
            assert await board.outcomes(1) == ["gone"]
        assert await board.devices.of_user(linus) == []

    async def test_a_refusal_is_not_repeated_and_keeps_the_device(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        phone = Phone(lambda _: Refused("bad topic"))
        async with board.sending({Provider.LOG: phone}):
            await board.ring(ada, linus)
            assert await board.outcomes(1) == ["refused"]
        assert len(phone.pushes) == len(await board.devices.of_user(linus)) == 1

    async def test_a_provider_that_hangs_delays_no_other(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        for _ in range(5):
            await board.device(linus, Provider.FCM)
        await board.device(linus)
        hanging, well = Phone(), Phone()
        hanging.may_answer.clear()
        async with board.sending({Provider.FCM: hanging, Provider.LOG: well}, send_seconds=0.5):
            await board.ring(ada, linus)
            await hanging.heard(5)
            assert await board.outcomes(1) == ["delivered"]
            await hanging.heard(10)  # cut off and tried again
        assert len(well.pushes) == 1


class TestWhatIsOver:
    @pytest.mark.parametrize("deed", ["leave", "end"])
    async def test_a_ring_is_not_sent_after_the_caller_gave_up(self, board: Switchboard, deed: str) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        call = await board.ring(ada, linus)
        await getattr(board.calls, deed)(ada, call.call_id)
        phone = Phone()
        async with board.sending({Provider.LOG: phone}):
            assert await board.outcomes(2) == ["overtaken", "delivered"]
        assert phone.kinds == ["missed"]

    async def test_a_ring_is_not_tried_again_after_it_was_answered(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        here, there = await board.device(linus, Provider.FCM), await board.device(linus)
        phone = Phone(lambda push: Retry("503", after=0.5) if push.kind is Kind.RING else Delivered())
        async with board.sending({Provider.LOG: phone}):
            call = await board.ring(ada, linus)
            await phone.heard(1)
            await board.calls.join(linus, call.call_id, here)
            await board.outcomes(2)
        assert phone.kinds == ["ring", "cancel"]
        assert {push.device_id for push in phone.pushes} == {there}

    async def test_a_cancel_does_not_overtake_the_ring_on_its_way(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        here = await board.device(linus, Provider.FCM)
        await board.device(linus)
        phone = Phone()
        phone.may_answer.clear()
        async with board.sending({Provider.LOG: phone}):
            call = await board.ring(ada, linus)
            await phone.heard(1)
            await board.calls.join(linus, call.call_id, here)
            claim = await self._claim(board, NodeId(uuid4()))
            assert claim.taken == 0
            phone.may_answer.set()
            assert await board.outcomes(2) == ["delivered", "delivered"]
        assert phone.kinds == ["ring", "cancel"]

    async def test_a_ring_is_not_sent_after_its_end(self, database: Database) -> None:
        clock = ManualClock()
        board = Switchboard(database, clock)
        ada, linus = await two(board)
        await board.device(linus)
        await board.ring(ada, linus, seconds=10)
        clock.advance(10)
        assert (await self._claim(board, NodeId(uuid4()))).pushes == []
        assert [row.outcome for row in await board.rows()] == ["expired"]

    async def test_a_device_that_was_removed_gets_nothing_more(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        device = await board.device(linus)
        await board.ring(ada, linus)
        await board.devices.revoke(linus, device)
        assert (await self._claim(board, NodeId(uuid4()))).pushes == []
        assert [row.outcome for row in await board.rows()] == ["gone"]

    async def _claim(self, board: Switchboard, owner: NodeId) -> store.Claim:
        now = board.clock.now()
        return await board.database.transact(
            lambda connection: store.claim(
                connection, Provider.LOG, owner, now, until=now + timedelta(seconds=12), room={"": 10}, limit=10
            )
        )


class TestDeath:
    async def test_a_sender_that_died_gives_back_what_it_had_when_the_lease_ends(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        dying, heir = Phone(), Phone()
        dying.may_answer.clear()
        lease = timedelta(seconds=1)
        async with board.sending({Provider.LOG: dying}, lease=lease):
            await board.ring(ada, linus)
            await dying.heard(1)
        async with board.sending({Provider.LOG: heir}, lease=lease):
            (push,) = await heir.heard(1)
            assert await board.outcomes(1) == ["delivered"]
        assert push.attempts == 2

    async def test_a_late_word_of_the_one_that_lost_the_lease_changes_nothing(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        await board.ring(ada, linus)
        first, second, now = NodeId(uuid4()), NodeId(uuid4()), board.clock.now()

        async def take(owner: NodeId, at: float) -> Push:
            begun = now + timedelta(seconds=at)
            claim = await board.database.transact(
                lambda connection: store.claim(
                    connection, Provider.LOG, owner, begun, until=begun + timedelta(seconds=5), room={"": 1}, limit=1
                )
            )
            return claim.pushes[0]

        push = await take(first, 0)
        await take(second, 6)
        late = store.Answer(push, Outcome.EXPIRED, now, "late", (), again=now)
        await board.database.transact(lambda connection: store.write_down(connection, [late], first))
        (row,) = await board.rows()
        assert (row.lease_owner, row.attempts) == (second, 2)

    async def test_one_that_stops_in_order_leaves_its_work_to_the_others_at_once(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        leaving, heir = Phone(), Phone()
        leaving.may_answer.clear()
        async with board.sending({Provider.LOG: leaving}) as outbox:
            await board.ring(ada, linus)
            await leaving.heard(1)
        await outbox.stop()
        async with board.sending({Provider.LOG: heir}):
            await heir.heard(1)

    async def test_a_restart_on_its_own_file_waits_for_no_lease(self, board: Switchboard) -> None:
        ada, linus = await two(board)
        await board.device(linus)
        dying, heir = Phone(), Phone()
        dying.may_answer.clear()
        async with board.sending({Provider.LOG: dying}):
            await board.ring(ada, linus)
            await dying.heard(1)
        async with board.sending({Provider.LOG: heir}) as outbox:
            await outbox.start()
            outbox.wake()
            await heir.heard(1)
