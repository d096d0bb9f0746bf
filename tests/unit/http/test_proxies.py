"""Whose word on the client is taken, and which address is the client's."""

import pytest
from structlog.testing import capture_logs

from secureconnect.http.proxies import MOST_WARNINGS, TrustedProxies

PROXIES = TrustedProxies(["127.0.0.1", "::1", "10.0.0.0/8", "2001:db8:1::/48", "/run/gateway.sock"])


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("::1", ["2001:db8:2::5"], "2001:db8:2::5"),
        ("::1", ["[2001:db8:2::5]:4711, [2001:db8:1::1]:80"], "2001:db8:2::5"),
        ("::1", ['"[2001:db8:2::5]:4711"'], "2001:db8:2::5"),
        ("127.0.0.1", ["198.51.100.7:50000"], "198.51.100.7"),
        ("::ffff:127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7, ::ffff:10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["", " , "], "127.0.0.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("/run/gateway.sock", ["198.51.100.7"], "198.51.100.7"),
    ],
)
def test_the_last_address_that_no_gateway_of_ours_has(peer: str, lines: list[str], client: str) -> None:
    assert PROXIES.client_of(peer, lines) == client


def test_a_star_believes_everyone() -> None:
    assert TrustedProxies(["*"]).client_of("192.0.2.1", ["198.51.100.7, 203.0.113.9"]) == "198.51.100.7"


@pytest.mark.parametrize(
    ("peer", "lines", "scheme"),
    [
        ("127.0.0.1", ["https"], "https"),
        ("127.0.0.1", ["HTTPS"], "https"),
        ("127.0.0.1", ["wss"], "https"),
        ("127.0.0.1", ["https, http"], "https"),
        ("127.0.0.1", ["https", "http"], "https"),
        ("127.0.0.1", ["http"], "http"),
        ("127.0.0.1", ["gopher"], None),
        ("127.0.0.1", [], None),
        ("192.0.2.1", ["https"], None),
    ],
)
def test_the_scheme_by_the_word_of_a_gateway(peer: str, lines: list[str], scheme: str | None) -> None:
    assert PROXIES.scheme_of(peer, lines) == scheme


def test_who_is_not_believed_is_named_once_and_not_without_end() -> None:
    proxies = TrustedProxies(["127.0.0.1"])
    with capture_logs() as lines:
        for number in range(3 * MOST_WARNINGS):
            for _ in range(2):
                proxies.client_of(f"192.0.2.{number}", ["198.51.100.7"])
        proxies.client_of("192.0.2.200", [])
    assert [line["peer"] for line in lines] == [f"192.0.2.{number}" for number in range(MOST_WARNINGS)]
    assert {(line["event"], line["log_level"]) for line in lines} == {("forwarded address not trusted", "warning")}
