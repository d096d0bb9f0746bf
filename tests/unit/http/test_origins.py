"""Which pages are ours: compared as scheme, host and port, whatever the spelling."""

import pytest

from secureconnect.http.origins import Origins, parse_origin

HERE = Origins(["https://chat.example", "capacitor://localhost", "http://[2001:db8::1]:8080/"], "https://calls.example/")


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://a.example", "a.example", "https"),
        ("https://a.example", "a.example:443", "https"),
        ("https://a.example:443", "a.example", "https"),
        ("http://a.example", "a.example:80", "http"),
        ("http://a.example:80", "a.example", "http"),
        ("https://A.Example", "a.EXAMPLE", "https"),
        ("HTTPS://a.example", "a.example", "https"),
        ("https://a.example.", "a.example", "https"),
        ("https://a.example", "a.example.:443", "https"),
        ("https://a.example:8443", "a.example:8443", "https"),
        ("https://[2001:db8::1]", "[2001:db8::1]:443", "https"),
        ("https://[2001:DB8::1]:8443", "[2001:db8::1]:8443", "https"),
        ("https://a.example", "a.example", None),
        ("http://a.example", "a.example", None),
        ("http://localhost:9090", "localhost:9090", None),
        ("https://calls.example", "10.0.0.5:9090", None),
        ("https://CALLS.example:443", "10.0.0.5", "http"),
    ],
)
def test_a_page_of_ours(origin: str, host: str, scheme: str | None) -> None:
    assert HERE.owns([origin], host, scheme)


@pytest.mark.parametrize(
    ("origins", "host", "scheme"),
    [
        (["null"], "null", None),
        ([""], "", None),
        ([], "a.example", None),
        (["https://a.example", "https://a.example"], "a.example", None),
        (["https://a.example, https://a.example"], "a.example", None),
        (["https://a.example https://a.example"], "a.example", None),
        (["http://a.example"], "a.example", "https"),
        (["https://a.example"], "a.example", "http"),
        (["https://a.example"], "a.example:80", None),
        (["http://a.example"], "a.example:443", None),
        (["https://a.example:8443"], "a.example", None),
        (["https://a.example"], "b.example", None),
        (["https://a.example.evil.example"], "a.example", None),
        (["https://a.example@evil.example"], "a.example", None),
        (["https://evil.example@a.example"], "a.example", None),
        (["https://user:password@a.example"], "a.example", None),
        (["https://a.example/"], "a.example", None),
        (["https://a.example/path"], "a.example", None),
        (["https://a.example?"], "a.example", None),
        (["https://a.example#"], "a.example", None),
        (["https://a.example\\@evil.example"], "a.example", None),
        (["https://a.example:"], "a.example", None),
        (["https://a.example:0443x"], "a.example", None),
        (["https://"], "", None),
        (["a.example"], "a.example", None),
        (["//a.example"], "a.example", None),
        (["file://"], "", None),
        (["ws://a.example"], "a.example", None),
        (["ftp://a.example"], "a.example", None),
        (["https://a.example.."], "a.example", None),
        (["http://calls.example"], "b.example", None),
        (["https://2001:db8::1"], "[2001:db8::1]", None),
    ],
)
def test_no_other(origins: list[str], host: str, scheme: str | None) -> None:
    assert not HERE.owns(origins, host, scheme)


@pytest.mark.parametrize(
    "origin", ["https://chat.example", "https://CHAT.example.:443", "capacitor://localhost", "http://[2001:db8::1]:8080"]
)
def test_an_allowed_one_is_allowed_in_every_spelling(origin: str) -> None:
    assert HERE.allows([origin])


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["null"],
        ["http://chat.example"],
        ["https://chat.example:444"],
        ["https://chat.example", "https://chat.example"],
        ["https://chatxexample"],
        ["https://chat.example.evil.example"],
        ["capacitor://localhost:80"],
        ["http://localhost"],
    ],
)
def test_no_other_is_allowed(origins: list[str]) -> None:
    assert not HERE.allows(origins)


def test_null_is_allowed_where_an_operator_says_so() -> None:
    assert Origins(["null"]).allows(["null"])
    assert not Origins(["null"]).owns(["null"], "null", None)


def test_a_port_that_the_scheme_implies_is_the_same_origin() -> None:
    assert parse_origin("https://a.example") == parse_origin("HTTPS://A.example.:443")
    assert parse_origin("https://a.example") != parse_origin("http://a.example:443")
