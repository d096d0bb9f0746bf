"""Each purpose has a key of its own, and nodes of 0.1 and ours agree on those of a call."""

import hashlib
import hmac
import os
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secureconnect.ids import IdFactory
from secureconnect.keys import InternalKeys, Purpose, derive_key
from secureconnect.media.coturn import CoturnOptions, configuration
from tests.fakes.clock import START, ManualClock

SECRET = "a secret of the tests, longer than thirty-two characters"
CALL = UUID(int=(int(START.timestamp() * 1000) << 80) | 7)


def keys(*, derived_after: timedelta) -> InternalKeys:
    made = InternalKeys(SECRET)
    made.derived_from = START + derived_after
    return made


def test_each_purpose_has_a_key_of_its_own() -> None:
    made = {derive_key(SECRET, purpose) for purpose in Purpose}
    assert len(made) == len(Purpose)
    assert SECRET.encode() not in made


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_key_is_hkdf_with_a_label(purpose: Purpose) -> None:
    expected = HKDF(SHA256(), 32, None, f"secureconnect/1/{purpose.value}".encode()).derive(SECRET.encode())
    assert derive_key(SECRET, purpose) == expected
    assert derive_key(SECRET + "x", purpose) != expected


def test_a_new_server_uses_derived_keys_alone() -> None:
    for purpose in Purpose:
        assert InternalKeys(SECRET).of(purpose, CALL) == derive_key(SECRET, purpose)


def test_a_call_keeps_the_keys_of_its_beginning() -> None:
    """During an upgrade, which is the time when nodes of 0.1 run as well."""
    before, after = keys(derived_after=timedelta(milliseconds=1)), keys(derived_after=timedelta())
    assert before.of(Purpose.RESUME_TOKENS, CALL) == hashlib.sha256(b"secureconnect resume" + SECRET.encode()).digest()
    assert before.of(Purpose.RECORDING_LINKS, CALL) == SECRET.encode()
    for purpose in (Purpose.RESUME_TOKENS, Purpose.RECORDING_LINKS, Purpose.SFU_ROOMS):
        assert after.of(purpose, CALL) == derive_key(SECRET, purpose) != before.of(purpose, CALL)


def test_the_boundary_is_the_time_in_the_id() -> None:
    clock = ManualClock()
    ids = IdFactory(clock.now_ms, os.urandom)
    made = keys(derived_after=timedelta(seconds=1))
    clock.advance(0.999)
    assert not made.uses_derived(ids.new())
    clock.advance(0.001)
    assert made.uses_derived(ids.new())


def test_nodes_of_both_versions_open_the_same_room_during_an_upgrade() -> None:
    of_0_1 = hmac.new(SECRET.encode(), b"rooms", hashlib.sha256).digest()
    assert keys(derived_after=timedelta(days=1)).for_rooms(f"{CALL}.3") == of_0_1
    assert keys(derived_after=timedelta()).for_rooms(f"{CALL}.3") == derive_key(SECRET, Purpose.SFU_ROOMS)
    assert keys(derived_after=timedelta(days=1)).for_rooms("no call's.3") == derive_key(SECRET, Purpose.SFU_ROOMS)


def test_the_turn_server_of_0_1_is_known_by_its_secret() -> None:
    made = InternalKeys(SECRET)
    assert made.turn_secret_of_0_1 == hmac.new(SECRET.encode(), b"turn", hashlib.sha256).hexdigest()
    assert made.turn_secret == derive_key(SECRET, Purpose.TURN).hex() != made.turn_secret_of_0_1


def test_coturn_accepts_credentials_of_the_former_secret_beside_ours() -> None:
    made = InternalKeys(SECRET)
    options = CoturnOptions(address="10.0.0.1", secret=made.turn_secret)
    assert configuration(options).count("static-auth-secret=") == 1
    both = configuration(replace(options, former_secret=made.turn_secret_of_0_1)).splitlines()
    assert both.index(f"static-auth-secret={made.turn_secret}") + 1 == both.index(f"static-auth-secret={made.turn_secret_of_0_1}")


def test_ids_without_a_time_use_derived_keys() -> None:
    assert InternalKeys(SECRET).uses_derived(uuid4())
