"""The token that comes with a ring: good for one person, one call and a short while."""

import os
from datetime import timedelta
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from secureconnect.accounts.credentials import TokenIssuer
from secureconnect.accounts.ring_tokens import GOOD_AFTER_THE_RING, RingTokens
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.ids import CallId, IdFactory, UserId
from secureconnect.keys import InternalKeys
from tests.fakes.clock import START, ManualClock
from tests.unit.accounts.conftest import AUDIENCE, ISSUER, SECRET

RING = timedelta(seconds=45)
LINUS, CALL = UserId(uuid4()), CallId(uuid4())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock: ManualClock) -> RingTokens:
    return RingTokens(secret=SECRET, keys=InternalKeys(SECRET), issuer=ISSUER, audience=AUDIENCE, clock=clock)


def test_it_names_the_one_who_is_rung(tokens: RingTokens) -> None:
    assert tokens.bearer(tokens.issue(LINUS, CALL, START + RING), CALL) == LINUS


def test_it_opens_no_other_call(tokens: RingTokens) -> None:
    assert tokens.bearer(tokens.issue(LINUS, CALL, START + RING), CallId(uuid4())) is None


def test_it_ends_shortly_after_the_ring(tokens: RingTokens, clock: ManualClock) -> None:
    token = tokens.issue(LINUS, CALL, START + RING)
    clock.advance((RING + GOOD_AFTER_THE_RING).total_seconds())
    assert tokens.bearer(token, CALL) == LINUS
    clock.advance(LEEWAY_SECONDS + 1)
    assert tokens.bearer(token, CALL) is None


def test_neither_an_access_token_nor_noise_is_one(tokens: RingTokens) -> None:
    issuer = TokenIssuer(secret=SECRET, issuer=ISSUER, audience=AUDIENCE, lifetime=RING)
    access = issuer.issue(LINUS, "Linus", token_id=uuid4(), now=START)
    other_secret = RingTokens(
        secret=SECRET[::-1], keys=InternalKeys(SECRET[::-1]), issuer=ISSUER, audience=AUDIENCE, clock=ManualClock()
    )
    head, body, tag = tokens.issue(LINUS, CALL, START + RING).split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{body}."
    for token in (access, other_secret.issue(LINUS, CALL, START + RING), f"{head}.{body}.{tag[::-1]}", unsigned, "", "a.b.c", "é"):
        assert tokens.bearer(token, CALL) is None


def test_the_secret_of_access_tokens_alone_makes_none(tokens: RingTokens, clock: ManualClock) -> None:
    claims = jwt.decode(tokens.issue(LINUS, CALL, START + RING), OctKey.import_key(SECRET)).claims
    for forged in (claims | {"tag": "0" * 64}, {name: claims[name] for name in claims if name != "tag"}, claims | {"tag": 1}):
        assert tokens.bearer(jwt.encode({"alg": "HS256"}, forged, OctKey.import_key(SECRET)), CALL) is None
    longer = claims | {"exp": claims["exp"] + 3600}
    assert tokens.bearer(jwt.encode({"alg": "HS256"}, longer, OctKey.import_key(SECRET)), CALL) is None
    other = claims | {"sub": str(uuid4())}
    assert tokens.bearer(jwt.encode({"alg": "HS256"}, other, OctKey.import_key(SECRET)), CALL) is None


def test_a_call_from_before_the_derived_keys_has_none(clock: ManualClock) -> None:
    keys = InternalKeys(SECRET)
    keys.derived_from = START + timedelta(days=1)
    call = CallId(IdFactory(clock.now_ms, os.urandom).new())
    token = RingTokens(secret=SECRET, keys=keys, issuer=ISSUER, audience=AUDIENCE, clock=clock).issue(LINUS, call, START + RING)
    assert "tag" not in jwt.decode(token, OctKey.import_key(SECRET)).claims
    assert RingTokens(secret=SECRET, keys=keys, issuer=ISSUER, audience=AUDIENCE, clock=clock).bearer(token, call) == LINUS
