"""Password hashes and our own tokens."""

import threading
from datetime import timedelta
from uuid import UUID

import anyio
import argon2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from secureconnect.accounts.credentials import PasswordHasher, TokenIssuer, argon2id, new_refresh_token, refresh_token_hash
from secureconnect.errors import Unavailable
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_password_fits_its_hash_and_no_other(passwords: PasswordHasher) -> None:
    encoded = await passwords.hash("correct horse 🐎")
    assert encoded.startswith("$argon2id$")
    assert await passwords.verify(encoded, "correct horse 🐎")
    assert not await passwords.verify(encoded, "correct horse")


async def test_the_same_password_is_hashed_differently_each_time(passwords: PasswordHasher) -> None:
    assert await passwords.hash("swordfish") != await passwords.hash("swordfish")


async def test_nobody_is_verified_with_as_much_work_as_somebody() -> None:
    checked: list[str] = []

    class Counting(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            checked.append(str(hash))
            return super().verify(hash, password)

    hasher = PasswordHasher(Counting(time_cost=1, memory_cost=8, parallelism=1))
    assert not await hasher.verify(None, "anything")
    assert len(checked) == 1, "an unknown account must cost one hash as well"
    assert not hasher.needs_rehash(checked[0]), "and one with the same parameters"


async def test_other_parameters_call_for_a_new_hash() -> None:
    hasher = PasswordHasher(argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert hasher.needs_rehash(CHEAP.hash("swordfish"))
    assert not hasher.needs_rehash(await hasher.hash("swordfish"))


def test_the_default_parameters_are_those_documented() -> None:
    default = argon2id()
    assert (default.time_cost, default.memory_cost, default.parallelism) == (2, 19_456, 1)


async def test_hashing_is_bounded_and_a_burst_is_refused() -> None:
    """One hash runs, one waits, and the third is told to come back; the event loop stays free meanwhile."""
    started, finish = threading.Event(), threading.Event()

    class Slow(argon2.PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            if password == "slow":
                started.set()
                assert finish.wait(10)
            return super().hash(password, salt=salt)

    hasher = PasswordHasher(Slow(time_cost=1, memory_cost=8, parallelism=1), at_once=1, waiting=1)
    results: list[str] = []

    async def hash_one() -> None:
        results.append(await hasher.hash("slow"))

    async with anyio.create_task_group() as group:
        group.start_soon(hash_one)
        group.start_soon(hash_one)
        await anyio.to_thread.run_sync(started.wait)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(Unavailable):
            await hasher.hash("slow")
        finish.set()
    assert len(results) == 2


def test_refresh_tokens_have_256_bits_and_are_kept_as_hashes() -> None:
    tokens = {new_refresh_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}, "32 bytes as base64url"
    assert refresh_token_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


@pytest.mark.parametrize("secret", ["s" * 32, "ß" * 32])
def test_a_token_has_the_claims_of_rfc_7519(secret: str) -> None:
    issuer = TokenIssuer(secret=secret, issuer="us", audience="them", lifetime=timedelta(minutes=15))
    token = issuer.issue(UUID(int=1), "Ada", token_id=UUID(int=2), now=START)
    decoded = jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"])
    assert decoded.header == {"typ": "JWT", "alg": "HS256"}
    assert decoded.claims == {
        "iss": "us",
        "aud": "them",
        "sub": "00000000-0000-0000-0000-000000000001",
        "name": "Ada",
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 900,
        "jti": "00000000-0000-0000-0000-000000000002",
    }
