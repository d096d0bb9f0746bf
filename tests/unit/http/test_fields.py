"""Header fields that are lists: every way to write one is read as the same list."""

import pytest

from secureconnect.http.fields import accepts, elements, has_token, matches


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], []),
        ([""], []),
        (["a, b"], ["a", "b"]),
        (["a,b", "c"], ["a", "b", "c"]),
        ([",, a ,\t, b ,"], ["a", "b"]),
        (['"a, b", c'], ['"a, b"', "c"]),
        (['for="[2001:db8::1]:4711";proto=https, for=192.0.2.1'], ['for="[2001:db8::1]:4711";proto=https', "for=192.0.2.1"]),
        (['"a\\", b", c'], ['"a\\", b"', "c"]),
        (['"never ends, a'], ['"never ends, a']),
    ],
)
def test_elements(lines: list[str], found: list[str]) -> None:
    assert elements(lines) == found


@pytest.mark.parametrize(
    "lines",
    [
        ["Upgrade"],
        ["upgrade"],
        ["keep-alive, Upgrade"],
        ["Upgrade,keep-alive"],
        ["keep-alive", "UPGRADE"],
        ["Upgrade", "close"],
        [",Upgrade,"],
    ],
)
def test_a_token_is_found_wherever_it_stands(lines: list[str]) -> None:
    assert has_token(lines, "upgrade")


@pytest.mark.parametrize("lines", [[], [""], ["keep-alive"], ["upgraded"], ["no upgrade"], ["xupgrade, close"]])
def test_a_token_that_is_not_there_is_not_found(lines: list[str]) -> None:
    assert not has_token(lines, "upgrade")


@pytest.mark.parametrize(
    ("lines", "is_accepted"),
    [
        ([], False),
        (["gzip"], True),
        (["gzip, deflate, br"], True),
        (["br", "GZIP"], True),
        (["*"], True),
        (["gzip;q=0"], False),
        (["gzip ; q=0.000, *"], False),
        (["*;q=0, gzip;q=0.5"], True),
        (["*;q=0"], False),
        (["identity"], False),
        (["gzip;q=1.5"], False),
        (["gzip;q=nan"], False),
        (["x-gzip"], False),
    ],
)
def test_a_coding_is_accepted_by_its_weight(lines: list[str], is_accepted: bool) -> None:
    assert accepts(lines, "gzip") is is_accepted


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], None),
        (["*"], '"a"'),
        (['"a"'], '"a"'),
        (['W/"a"'], '"a"'),
        (['"x", W/"b"'], '"b"'),
        (['"x"', '"a"'], '"a"'),
        (["a"], None),
        (['"A"'], None),
        (['"a'], None),
        (['w/"a"'], None),
        (['"x, a"'], None),
    ],
)
def test_entity_tags_are_compared_weakly(lines: list[str], found: str | None) -> None:
    assert matches(lines, ('"a"', '"b"')) == found
