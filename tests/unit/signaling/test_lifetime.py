"""Sockets end with their token: when it expires, and when what it stands for is revoked. A newer token keeps them open."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from secureconnect.accounts.grant import Grant
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.calls.call import State
from secureconnect.ids import DeviceId, UserId
from secureconnect.signaling.lifetime import OpenSocket
from tests.unit.signaling.world import ANN, BOB, CYN, Client, Link, World

PHONE, LAPTOP = DeviceId(UUID(int=0xD1)), DeviceId(UUID(int=0xD2))
SIGN_IN, OTHER_SIGN_IN = UUID(int=0x51), UUID(int=0x52)


@pytest.fixture
def world() -> Iterator[World]:
    world = World(ANN, BOB, CYN)
    world.calls.join(BOB, LAPTOP)
    world.calls.join(CYN, None)
    yield world
    world.run_spawned()
    world.close()


def connect(world: World, user_id: UserId, seconds: float = 30.0, **more: Any) -> tuple[Client, Link]:
    """A client whose socket was opened with a token of this life."""
    client = Client(world, user_id, PHONE if user_id == ANN else LAPTOP)
    client.grant = world.grant(user_id, seconds, **more)
    link = client.connect()
    client.read()
    world.lifetimes.watch([*world.lifetimes._open, cast(OpenSocket, link)])
    return client, link


def answer(link: Link) -> dict[str, Any]:
    """The last frame that came."""
    frame: dict[str, Any] = json.loads(link.unread[-1])
    return frame


def revoke(world: World, *, sign_in: UUID | None = None, user_id: UserId | None = None) -> None:
    """As this node hears of it, and looks through its sockets."""

    async def announce() -> None:
        if sign_in is not None:
            world.revocations.announce_sign_ins([sign_in])
        if user_id is not None:
            world.revocations.announce_user(user_id, world.clock.now(), [])
        world.lifetimes.sweep_revoked()

    world.run(announce())


class TestExpiry:
    def test_a_socket_closes_when_its_token_expires_and_not_before(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.clock.advance(29.9)
        world.lifetimes.sweep()
        assert link.closed_with is None
        world.clock.advance(0.1)
        world.lifetimes.sweep()
        assert link.closed_with == 4004

    def test_a_socket_that_opens_between_two_looks_at_all_is_seen(self, world: World) -> None:
        world.lifetimes.sweep()
        _, link = connect(world, BOB, 3)
        assert not ends_at_once(world, link)
        world.clock.advance(3)
        world.lifetimes.sweep()
        assert link.closed_with == 4004

    def test_a_token_of_a_few_seconds_that_renews_is_seen(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.lifetimes.sweep()
        world.tokens["short"] = world.grant(BOB, 2)
        TestRenewal().renew(world, link, "short")
        world.clock.advance(2)
        world.lifetimes.sweep()
        assert link.closed_with == 4004

    def test_the_session_stays_and_is_resumed_with_a_new_token(self, world: World) -> None:
        bob, link = connect(world, BOB)
        world.clock.advance(30)
        world.lifetimes.sweep()
        assert link.closed_with == 4004
        world.run(bob.lose().attachment.closed())
        session_id = bob.session_id
        bob.grant = world.grant(BOB)
        bob.connect()
        bob.read()
        assert bob.session_id == session_id
        assert state_of(world, BOB) is State.JOINED

    def test_a_token_within_the_leeway_opens_a_socket_until_the_leeway_ends(self, world: World) -> None:
        now = world.clock.now().timestamp()
        world.tokens["old"] = Grant(BOB, now - 900, now - 5)
        grant = world.run(world.lifetimes.authenticate("old"))
        assert grant.expires_at == now - 5 + LEEWAY_SECONDS

    def test_the_welcome_says_for_how_long(self, world: World) -> None:
        client = Client(world, BOB, LAPTOP)
        client.grant = world.grant(BOB, 30.9)
        assert json.loads(client.connect().unread[0])["token_expires_in"] == 30


class TestRenewal:
    def renew(self, world: World, link: Link, token: str, **more: Any) -> dict[str, Any]:
        link.attachment.received(json.dumps({"type": "auth", "token": token, "ref": "r", **more}).encode(), 0.0)
        world.run_spawned()
        return answer(link)

    def test_a_newer_token_keeps_the_socket_open(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.clock.advance(20)
        world.tokens["new"] = world.grant(BOB, 30)
        assert self.renew(world, link, "new") == {"type": "authenticated", "token_expires_in": 30, "ref": "r", "ice_servers": []}
        world.clock.advance(29)
        world.lifetimes.sweep()
        assert link.closed_with is None
        world.clock.advance(1)
        world.lifetimes.sweep()
        assert link.closed_with == 4004

    def test_it_belongs_to_the_newer_sign_in_from_then_on(self, world: World) -> None:
        _, link = connect(world, BOB, sign_in=SIGN_IN)
        world.tokens["new"] = world.grant(BOB, 30, sign_in=OTHER_SIGN_IN)
        self.renew(world, link, "new")
        revoke(world, sign_in=SIGN_IN)
        assert link.closed_with is None
        revoke(world, sign_in=OTHER_SIGN_IN)
        assert link.closed_with == 4003

    def test_another_users_token_closes_it(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.tokens["of ann"] = world.grant(ANN)
        frame = self.renew(world, link, "of ann")
        assert (frame["type"], frame["code"], frame["ref"]) == ("error", "forbidden", "r")
        assert link.closed_with == 1008

    def test_a_token_that_counts_no_more_changes_nothing(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.tokens["revoked"] = world.grant(BOB, 900, sign_in=OTHER_SIGN_IN)
        revoke(world, sign_in=OTHER_SIGN_IN)
        for token in ("forged", "revoked"):
            frame = self.renew(world, link, token)
            assert (frame["type"], frame["code"], frame["ref"]) == ("error", "unauthenticated", "r")
            assert link.closed_with is None
        world.clock.advance(30)
        world.lifetimes.sweep()
        assert link.closed_with == 4004

    def test_one_at_a_time(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.tokens["new"] = world.grant(BOB, 60)
        for ref in ("1", "2"):
            link.attachment.received(json.dumps({"type": "auth", "token": "new", "ref": ref}).encode(), 0.0)
        assert (answer(link)["code"], answer(link)["ref"]) == ("rate_limited", "2")
        world.run_spawned()
        assert (answer(link)["type"], answer(link)["ref"]) == ("authenticated", "1")
        assert self.renew(world, link, "new")["type"] == "authenticated"

    def test_a_socket_that_closes_meanwhile_is_told_nothing(self, world: World) -> None:
        _, link = connect(world, BOB)
        world.tokens["new"] = world.grant(BOB, 60)
        link.attachment.received(b'{"type":"auth","token":"new"}', 0.0)
        link.close(1000, "gone")
        unread = len(link.unread)
        world.run_spawned()
        assert len(link.unread) == unread

    def test_the_token_is_told_to_nobody(self, world: World) -> None:
        ann, at_ann = connect(world, ANN)
        _, link = connect(world, BOB)
        ann.read()
        world.tokens["secret"] = world.grant(BOB, 60)
        self.renew(world, link, "secret", target_id=str(ANN))
        self.renew(world, link, "another secret", target_id=str(ANN))
        assert not [frame for frame in at_ann.unread if b"secret" in frame]
        assert not [frame for frame in link.unread if b"secret" in frame]


class TestRevocation:
    @pytest.mark.parametrize("what", ["sign-in", "user"])
    def test_the_socket_closes_and_the_session_leaves(self, world: World, what: str) -> None:
        _, link = connect(world, BOB, sign_in=SIGN_IN)
        world.clock.advance(5)
        revoke(world, **{"sign-in": {"sign_in": SIGN_IN}, "user": {"user_id": BOB}}[what])  # type: ignore[arg-type]
        assert link.closed_with == 4003
        world.run_spawned()
        assert state_of(world, BOB) is State.LEFT

    def test_the_media_at_the_sfu_ends_before_the_database_answers(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ended: list[tuple[str, str]] = []
        monkeypatch.setattr(world.at_sfu, "left", lambda topic, session_id: ended.append((topic, session_id)))
        bob, _ = connect(world, BOB, sign_in=SIGN_IN)
        revoke(world, sign_in=SIGN_IN)
        assert [session_id for _, session_id in ended] == [str(bob.session_id)]

    def test_other_sockets_stay(self, world: World) -> None:
        _, at_ann = connect(world, ANN, sign_in=OTHER_SIGN_IN)
        _, at_bob = connect(world, BOB, sign_in=SIGN_IN)
        revoke(world, sign_in=uuid4(), user_id=UserId(uuid4()))
        revoke(world, sign_in=SIGN_IN)
        assert (at_ann.closed_with, at_bob.closed_with) == (None, 4003)

    def test_a_token_of_after_the_moment_stays(self, world: World) -> None:
        _, link = connect(world, BOB, 900, sign_in=SIGN_IN)
        world.clock.advance(60)
        world.tokens["new"] = world.grant(BOB, 900)
        world.clock.advance(-30)
        moment = world.clock.now()
        world.clock.advance(30)
        TestRenewal().renew(world, link, "new")

        async def announce() -> None:
            world.revocations.announce_user(BOB, moment, [])
            world.lifetimes.sweep_revoked()

        world.run(announce())
        assert link.closed_with is None

    def test_a_socket_that_opens_meanwhile_is_not_welcomed(self, world: World) -> None:
        client = Client(world, BOB, LAPTOP)
        client.grant = world.grant(BOB, sign_in=SIGN_IN)
        client.knock()
        revoke(world, sign_in=SIGN_IN)
        attachment = client.opening
        assert attachment is not None
        link = Link(attachment)
        assert ends_at_once(world, link)
        assert (link.closed_with, link.unread) == (4003, [])
        world.run_spawned()
        assert state_of(world, BOB) is State.LEFT

    def test_a_socket_whose_token_expires_while_it_opens_is_not_welcomed(self, world: World) -> None:
        client = Client(world, BOB, LAPTOP)
        client.grant = world.grant(BOB, 5)
        client.knock()
        world.clock.advance(5)
        assert client.opening is not None
        link = Link(client.opening)
        assert ends_at_once(world, link)
        assert link.closed_with == 4004

    def test_a_session_that_leaves_for_its_device_is_told_why(self, world: World) -> None:
        """The leave may come before the sockets are looked through."""
        bob, link = connect(world, BOB, sign_in=SIGN_IN)

        async def announce() -> None:
            world.revocations.announce_sign_ins([SIGN_IN])
            await asyncio.sleep(0)
            assert bob.session_id is not None
            world.calls.leave_session(BOB, bob.session_id)
            await asyncio.sleep(0)

        world.run(announce())
        assert link.closed_with == 4003


class TestAbsentSessions:
    def drop(self, world: World, **more: Any) -> Client:
        """A client whose socket has gone, and which may come back."""
        bob, _ = connect(world, BOB, **more)
        world.run(bob.lose().attachment.closed())
        world.lifetimes.watch([])
        assert state_of(world, BOB) is State.RECONNECTING
        return bob

    def test_it_leaves_when_its_sign_in_is_revoked(self, world: World) -> None:
        self.drop(world, sign_in=SIGN_IN)
        revoke(world, sign_in=SIGN_IN)
        world.run_spawned()
        assert state_of(world, BOB) is State.LEFT

    def test_it_leaves_when_the_revocation_came_while_its_socket_closed(self, world: World) -> None:
        bob, _ = connect(world, BOB, sign_in=SIGN_IN)
        link = bob.lose()

        async def close() -> None:
            world.revocations.announce_sign_ins([SIGN_IN])
            await link.attachment.closed()

        world.run(close())
        world.run_spawned()
        assert state_of(world, BOB) is State.LEFT

    def test_one_that_came_back_with_another_sign_in_stays(self, world: World) -> None:
        bob = self.drop(world, sign_in=SIGN_IN)
        bob.grant = world.grant(BOB, sign_in=OTHER_SIGN_IN)
        bob.connect()
        bob.read()
        revoke(world, sign_in=SIGN_IN)
        world.run_spawned()
        assert state_of(world, BOB) is State.JOINED

    def test_after_the_grace_nothing_is_remembered(self, world: World) -> None:
        self.drop(world, sign_in=SIGN_IN)
        world.clock.advance(31)
        connect(world, ANN)
        ann, _ = connect(world, ANN)
        world.run(ann.lose().attachment.closed())
        assert len(world.sockets._absent) == 1


def ends_at_once(world: World, link: Link) -> bool:
    """Whether a socket that opens just now is closed again."""

    async def look() -> bool:
        return world.lifetimes.end_if_over(cast(OpenSocket, link))

    return world.run(look())


def state_of(world: World, user_id: UserId) -> State:
    person = world.calls.call.participant(user_id)
    assert person is not None
    return person.state
