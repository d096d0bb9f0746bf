"""The tree of errors: every code is stable, unique and says what to do."""

import re

import pytest

from secureconnect import errors
from secureconnect.errors import AtCapacity, NotFound, RateLimited, ServiceError, TokenExpired, Unavailable, all_errors

ALL = all_errors()


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\d{3}) (\w+)", errors.__doc__ or "")
    assert {(name, int(status), code) for name, status, code in drawn} == {(one.__name__, one.status, one.code) for one in ALL}


def test_every_code_is_unique_and_fit_for_a_program() -> None:
    codes = [one.code for one in ALL]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_speaks_for_itself(kind: type[ServiceError]) -> None:
    error = kind()
    assert error.detail == (kind.__doc__ or "").splitlines()[0]
    assert error.detail.endswith((".", "later"))
    assert str(error) == error.detail


def test_a_kind_of_an_error_has_the_same_status() -> None:
    for parent in ALL:
        assert all(child.status == parent.status for child in parent.__subclasses__())


@pytest.mark.parametrize("kind", [one for one in ALL if one.status in (429, 503)], ids=lambda kind: kind.__name__)
def test_who_is_to_come_back_is_told_when(kind: type[ServiceError]) -> None:
    assert isinstance(kind().retry_after, int)


def test_a_detail_and_a_delay_may_be_given() -> None:
    error = AtCapacity("Full.", retry_after=7)
    assert (error.detail, error.retry_after) == ("Full.", 7)
    assert AtCapacity().retry_after == Unavailable.retry_after, "one instance does not change the others"


@pytest.mark.parametrize(
    ("kind", "title"), [(NotFound, "Not found"), (TokenExpired, "Token expired"), (RateLimited, "Rate limited")]
)
def test_the_title_is_the_name_in_words(kind: type[ServiceError], title: str) -> None:
    assert kind.title() == title
