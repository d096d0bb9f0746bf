"""Which client an address stands for."""

import pytest

from secureconnect.ops.networks import UNKNOWN, network_of, networks_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::FFFF:cb00:7109", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
        ("2001:db8:1:1::", "2001:db8:1:1::/64"),
        ("2001:db8:1:1:ffff:ffff:ffff:ffff", "2001:db8:1:1::/64"),
        ("2001:0DB8:0001:0001::5", "2001:db8:1:1::/64"),
        ("[2001:db8:1:1::5]:443", "2001:db8:1:1::/64"),
        ("2001:db8:1:2::5", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("127.0.0.1", "127.0.0.1"),
        ("", UNKNOWN),
        ("unix:", UNKNOWN),
        ("203.0.113.999", UNKNOWN),
        ("x" * 10_000, UNKNOWN),
    ],
)
def test_the_client_of_an_address(address: str, client: str) -> None:
    assert network_of(address) == client


def test_the_wider_networks_may_use_more() -> None:
    assert networks_of("2001:db8:1:2a3::5") == (("2001:db8:1:2a3::/64", 1), ("2001:db8:1:200::/56", 4), ("2001:db8:1::/48", 16))
    assert networks_of("203.0.113.9") == (("203.0.113.9", 1),)
    assert networks_of("::ffff:203.0.113.9") == (("203.0.113.9", 1),)
