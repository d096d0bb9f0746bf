"""What a bus URL is taken for."""

import pytest

from secureconnect.bus.address import address_of


@pytest.mark.parametrize(
    ("url", "kind", "servers", "master"),
    [
        ("redis://localhost", "", [("localhost", 6379)], ""),
        ("rediss://me:secret@redis.example:7000/3", "", [("redis.example", 7000)], ""),
        ("redis+cluster://a:7000,b:7001,c", "cluster", [("a", 7000), ("b", 7001), ("c", 6379)], ""),
        ("redis+sentinel://me:p%40ss@a,b:26380/mymaster", "sentinel", [("a", 26379), ("b", 26380)], "mymaster"),
        ("redis+cluster://[::1]:7000,[fe80::1]", "cluster", [("::1", 7000), ("fe80::1", 6379)], ""),
    ],
)
def test_it_names_servers(url: str, kind: str, servers: list[tuple[str, int]], master: str) -> None:
    address = address_of(url)
    assert (address.kind, address.servers, address.master) == (kind, servers, master)


def test_each_server_is_reached_with_what_the_url_says_beside() -> None:
    address = address_of("rediss+cluster://me:p%40ss@a:1,b:2?ssl_ca_certs=/ca.pem")
    assert [address.url_of(*one) for one in address.servers] == [
        "rediss://me:p%40ss@a:1/?ssl_ca_certs=%2Fca.pem",
        "rediss://me:p%40ss@b:2/?ssl_ca_certs=%2Fca.pem",
    ]
    assert address_of("redis://[::1]:7").url_of("::1", 7) == "redis://[::1]:7/"


def test_sentinels_may_have_a_password_of_their_own() -> None:
    address = address_of("redis+sentinel://:masters@a/calls/2?sentinel_password=theirs&health_check_interval=1")
    assert address.sentinel_options == {"password": "theirs"}
    assert address.url_of("a", 1) == "redis://:masters@a:1/2?health_check_interval=1"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nats://there", "no bus for nats://"),
        ("redis+sentinel://a:26379", "needs the master's name"),
        ("redis+cluster://a:1/3", "one database"),
        ("redis://a:1,b:2", "names one server"),
        ("redis+cluster://a:1,b:many", "'b:many' is not host:port"),
        ("redis://a:0", "'a:0' is not host:port"),
    ],
)
def test_what_it_cannot_be(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        address_of(url)
