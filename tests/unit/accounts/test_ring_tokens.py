"""The token that comes with a ring: good for one person, one call and a short while."""

from datetime import timedelta
from uuid import uuid4

import pytest

from secureconnect.accounts.credentials import TokenIssuer
from secureconnect.accounts.ring_tokens import GOOD_AFTER_THE_RING, RingTokens
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.ids import CallId, UserId
from tests.fakes.clock import START, ManualClock
from tests.unit.accounts.conftest import AUDIENCE, ISSUER, SECRET

RING = timedelta(seconds=45)
LINUS, CALL = UserId(uuid4()), CallId(uuid4())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock: ManualClock) -> RingTokens:
    return RingTokens(secret=SECRET, issuer=ISSUER, audience=AUDIENCE, clock=clock)


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
    other_secret = RingTokens(secret=SECRET[::-1], issuer=ISSUER, audience=AUDIENCE, clock=ManualClock())
    head, body, tag = tokens.issue(LINUS, CALL, START + RING).split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{body}."
    for token in (access, other_secret.issue(LINUS, CALL, START + RING), f"{head}.{body}.{tag[::-1]}", unsigned, "", "a.b.c", "é"):
        assert tokens.bearer(token, CALL) is None
