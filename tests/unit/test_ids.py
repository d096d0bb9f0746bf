"""Ids: version 7, in the order of time, and never a key in a log."""

from uuid import RFC_4122, UUID

import pytest

from secureconnect.ids import IdFactory, short

NOW_MS = 0x0123_4567_89AB


def factory(now_ms: int = NOW_MS, random_byte: int = 0xFF) -> IdFactory:
    return IdFactory(lambda: now_ms, lambda count: bytes([random_byte]) * count)


def test_it_is_a_uuid_of_version_7() -> None:
    for random_byte in (0x00, 0xFF):
        made = factory(random_byte=random_byte).new()
        assert (made.version, made.variant) == (7, RFC_4122)


def test_time_is_in_front_and_all_else_is_random() -> None:
    assert factory().new() == UUID("01234567-89ab-7fff-bfff-ffffffffffff")
    assert factory(random_byte=0).new() == UUID("01234567-89ab-7000-8000-000000000000")


def test_a_later_id_is_larger_whatever_the_dice_say() -> None:
    assert factory(NOW_MS, 0xFF).new() < factory(NOW_MS + 1, 0x00).new()


def test_a_time_beyond_48_bits_does_not_spill_over() -> None:
    assert factory(1 << 48).new() == factory(0).new()


@pytest.mark.parametrize("kind", ["user", "conversation", "message", "call", "session"])
def test_every_kind_is_made_the_same_way(kind: str) -> None:
    assert getattr(factory(), kind)() == factory().new()


def test_a_log_shows_the_end_of_an_id() -> None:
    assert short(UUID("01234567-89ab-7000-8000-0000deadbeef")) == "deadbeef"
    assert short("abc") == "abc"
    assert short(None) == "-"
