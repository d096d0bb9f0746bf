"""Which spellings of a path are answered. tests/scenario/test_paths.py plays the same list at a node and at the gateway."""

import pytest

from secureconnect.errors import BadRequest, PathNotCanonical
from secureconnect.http.targets import canonical_target, check_fields
from tests.fakes.spellings import CANONICAL, OTHERS


@pytest.mark.parametrize("target", CANONICAL)
def test_the_plain_form_is_taken_as_it_is(target: str) -> None:
    assert canonical_target(target, "here") == target
    assert canonical_target(f"http://HERE{target}", "here") == target


@pytest.mark.parametrize("target", OTHERS)
def test_every_other_spelling_is_refused(target: str) -> None:
    with pytest.raises(PathNotCanonical):
        canonical_target(target, "here")


@pytest.mark.parametrize(
    "target", ["http://there/health", "http://here.evil/health", "http://here@there/health", "http://here:81/health"]
)
def test_a_target_that_names_another_host_is_refused(target: str) -> None:
    with pytest.raises(PathNotCanonical):
        canonical_target(target, "here")
    with pytest.raises(PathNotCanonical):
        canonical_target(target, None)


@pytest.mark.parametrize("host", ["here", "HERE:8080", "[2001:db8::1]:443", "10.0.0.1", "here.", "xn--nxasmq6b", "a_b"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert check_fields([("host", host)]) == host


@pytest.mark.parametrize("host", ["", "a b", "a@b", "a/b", "http://a", "a:b", "a:123456", "a,b", "[::1", "a?b"])
def test_nothing_else_is(host: str) -> None:
    with pytest.raises(BadRequest):
        check_fields([("host", host)])


@pytest.mark.parametrize("name", ["host", "authorization", "origin", "content-type", "idempotency-key", "sec-websocket-key"])
def test_what_may_be_said_once_is_refused_twice(name: str) -> None:
    fields = [("host", "here"), (name, "a")] if name != "host" else [("host", "here")]
    check_fields(fields)
    with pytest.raises(BadRequest):
        check_fields([*fields, (name, "a")])


def test_only_version_one_of_http_may_leave_host_out() -> None:
    assert check_fields([], wants_host=False) is None
    with pytest.raises(BadRequest):
        check_fields([])
