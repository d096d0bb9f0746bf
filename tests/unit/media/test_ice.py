"""Which ICE servers a client is given: credentials that a TURN server will compute too, and the servers of a region."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from secureconnect.ids import UserId
from secureconnect.media.ice import IceServerList, TurnServer, turn_credentials
from tests.fakes.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
ANNA = UserId(UUID(int=1))
LATER = (NOW + timedelta(days=1)).timestamp()
EUROPE = TurnServer(["turn:eu.example:3478?transport=udp", "turns:eu.example:5349?transport=tcp"], "eu")
ASIA = TurnServer(["turn:asia.example:3478"], "asia")
ANYWHERE = TurnServer(["turn:any.example:3478"])


def servers(region: str | None = None) -> IceServerList:
    return IceServerList(
        ManualClock(NOW),
        stun_urls=["stun:stun.example:3478"],
        turn_servers=[EUROPE, ASIA, ANYWHERE],
        secret="the secret",
        region=region,
        lifetime=timedelta(hours=1),
    )


def urls(ice: IceServerList, region: str | None = None) -> list[list[str]]:
    return [server.urls for server in ice.offer(ANNA, LATER, region=region).servers[1:]]


def test_a_credential_is_the_hmac_of_a_name_that_says_until_when() -> None:
    offered = servers().offer(ANNA, LATER)
    assert offered.expires_at == datetime(2026, 3, 1, 13, 0, 0, tzinfo=UTC)
    username = f"{int(offered.expires_at.timestamp())}:{ANNA}"
    password = base64.b64encode(hmac.new(b"the secret", username.encode(), hashlib.sha1).digest()).decode()
    for server in offered.servers[1:]:
        assert (server.username, server.credential) == (username, password)


def expiry(token_seconds: float, *, is_test: bool = False) -> float:
    """After how many seconds a credential expires that is asked for with a token of this life."""
    offered = servers().offer(ANNA, NOW.timestamp() + token_seconds, is_test=is_test)
    assert offered.expires_at is not None
    (name,) = {server.username for server in offered.servers[1:]}
    assert name == f"{int(offered.expires_at.timestamp())}:{ANNA}", "counted by user, whatever the call"
    return (offered.expires_at - NOW).total_seconds()


def test_a_credential_outlives_its_token_by_a_minute_at_most() -> None:
    assert 89 < expiry(30) <= 90
    assert 959 < expiry(900) <= 960
    assert 3599 < expiry(86_400) <= 3600


def test_a_credential_for_a_test_is_good_for_two_minutes() -> None:
    assert 119 < expiry(900, is_test=True) <= 120
    assert 89 < expiry(30, is_test=True) <= 90


def test_stun_servers_come_first_and_carry_no_credential() -> None:
    first = servers().offer(ANNA, LATER).servers[0]
    assert (first.urls, first.username, first.credential) == (["stun:stun.example:3478"], None, None)


def test_the_servers_of_the_region_and_of_none_are_given() -> None:
    assert urls(servers("eu")) == [EUROPE.urls, ANYWHERE.urls]
    assert urls(servers("eu"), "asia") == [ASIA.urls, ANYWHERE.urls]


def test_without_a_region_all_are_given() -> None:
    assert urls(servers()) == [EUROPE.urls, ASIA.urls, ANYWHERE.urls]


def test_in_a_region_without_servers_all_are_given_rather_than_none() -> None:
    ice = IceServerList(ManualClock(NOW), turn_servers=[EUROPE, ASIA], secret="s", region="mars")
    assert [server.urls for server in ice.servers_for(ANNA, LATER)] == [EUROPE.urls, ASIA.urls]


def test_without_turn_nothing_expires() -> None:
    offered = IceServerList(ManualClock(NOW), stun_urls=["stun:a:1"]).offer(ANNA, LATER)
    assert (len(offered.servers), offered.expires_at) == (1, None)


def test_our_own_server_is_given_only_while_it_runs() -> None:
    running: list[tuple[TurnServer, str]] = []
    ice = IceServerList(ManualClock(NOW), own=lambda: running[0] if running else None)
    assert ice.servers_for(ANNA, LATER) == []
    running.append((ANYWHERE, "its secret"))
    offered = ice.offer(ANNA, LATER)
    assert offered.expires_at is not None
    expected = turn_credentials("its secret", str(ANNA), offered.expires_at)
    assert (offered.servers[0].username, offered.servers[0].credential) == expected


@pytest.mark.parametrize("wrong", [[], ["stun:a:1"], ["https://a"], ["turn:a", "b"]])
def test_a_url_that_is_not_turns_is_refused(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="turn: or turns:"):
        TurnServer(wrong)
