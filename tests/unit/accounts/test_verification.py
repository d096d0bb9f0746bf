"""Access tokens under attack: what is forged, confused, stale or meant for others must not pass, and must say why."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from secureconnect.accounts.credentials import TokenIssuer
from secureconnect.accounts.verification import LEEWAY_SECONDS, Claims, TokenVerifier
from secureconnect.errors import TokenExpired, Unauthenticated
from secureconnect.signaling.protocol import MAX_TOKEN_CHARS
from tests.fakes.clock import START, ManualClock
from tests.unit.accounts.conftest import AUDIENCE, ISSUER, SECRET

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:EdDSA is deprecated")]

ACME, OTHER = "https://id.acme.example", "https://id.other.example"
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed-1"})
OTHER_RSA = RSAKey.generate_key(2048, {"kid": "other-1"})
STRANGER_RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
ENCRYPTION_RSA = RSAKey.generate_key(2048, {"kid": "enc-1"})
PUBLISHED_SECRET = OctKey.import_key("a symmetric key that somebody published", {"kid": "oct-1"})
NOW = int(START.timestamp())


def key_set(*keys: Key | dict[str, Any]) -> dict[str, Any]:
    return {"keys": [key if isinstance(key, dict) else key.as_dict(private=False) for key in keys]}


NOT_FOR_SIGNATURES = ENCRYPTION_RSA.as_dict(private=False) | {"use": "enc"}
OF_A_KIND_YET_TO_COME = {"kty": "AKP", "alg": "ML-DSA-65", "kid": "pq-1", "pub": "AAAA"}
DOCUMENTS = {
    f"{ACME}/jwks": key_set(OF_A_KIND_YET_TO_COME, RSA, EC, ED, NOT_FOR_SIGNATURES, PUBLISHED_SECRET),
    f"{OTHER}/jwks": key_set(OTHER_RSA),
}


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """The two providers; whoever asks for another address fails the test."""

    def publish(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=DOCUMENTS[str(request.url)])

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(publish)) as client:
        yield client


@pytest.fixture
def verifier(http: httpx2.AsyncClient, clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(
        secret=SECRET,
        issuer=ISSUER,
        audience=AUDIENCE,
        outside={ACME: f"{ACME}/jwks", OTHER: f"{OTHER}/jwks"},
        http=http,
        clock=clock,
    )


def claims(issuer: str = ISSUER, **changes: Any) -> dict[str, Any]:
    """Claims of a good token, changed; a claim set to None is left out."""
    whole = {"iss": issuer, "aud": AUDIENCE, "sub": "ada", "iat": NOW, "exp": NOW + 900, "name": "Ada"} | changes
    return {name: value for name, value in whole.items() if value is not None}


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hand_made(header: Any, payload: Any, secret: bytes = SECRET.encode()) -> str:
    """An HMAC-SHA256 over whatever one likes: what an attacker's own tool would make."""
    signing_input = f"{encoded(header)}.{encoded(payload)}"
    return f"{signing_input}.{encoded(hmac.digest(secret, signing_input.encode(), 'sha256'))}"


def ours(**changes: Any) -> str:
    return hand_made({"alg": "HS256", "typ": "JWT"}, claims(**changes))


def signed(key: Key, algorithm: str, *, header: dict[str, Any] | None = None, issuer: str = ACME) -> str:
    """What a provider with this key would make. A header field set to None is left out."""
    whole = {"alg": algorithm, "kid": key.kid} | (header or {})
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    present = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(present, claims(issuer), key, registry=registry)


async def test_our_own_token_passes(verifier: TokenVerifier, issuer: TokenIssuer) -> None:
    token = issuer.issue(UUID(int=7), "Ada", token_id=UUID(int=8), now=START)
    assert await verifier.verify(token) == Claims(ISSUER, str(UUID(int=7)), "Ada", NOW, NOW + 900)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")])
async def test_a_token_of_a_configured_provider_passes(verifier: TokenVerifier, key: Key, algorithm: str) -> None:
    assert await verifier.verify(signed(key, algorithm)) == Claims(ACME, "ada", "Ada", NOW, NOW + 900)


async def test_unknown_header_fields_are_ignored_and_never_followed(verifier: TokenVerifier) -> None:
    """RFC 8725, section 3.10: the addresses in a token are the attacker's; `http` would fail the test."""
    header = {"jku": "https://evil.example/jwks", "x5u": "https://evil.example/cert", "nonce": "a provider's own"}
    assert (await verifier.verify(signed(RSA, "RS256", header=header))).subject == "ada"


async def test_an_audience_may_be_one_of_several(verifier: TokenVerifier) -> None:
    assert (await verifier.verify(ours(aud=["somebody else", AUDIENCE]))).subject == "ada"


async def test_a_token_expires_after_a_short_leeway(verifier: TokenVerifier, clock: ManualClock) -> None:
    token = ours()
    clock.advance(899 + LEEWAY_SECONDS)
    assert (await verifier.verify(token)).subject == "ada"
    clock.advance(1)
    with pytest.raises(TokenExpired, match="/v1/auth/refresh"):
        await verifier.verify(token)


@pytest.mark.parametrize("member", ["sid", "device_id"])
async def test_what_an_outside_provider_says_of_sessions_is_not_ours(verifier: TokenVerifier, member: str) -> None:
    sign_in = str(UUID(int=9))
    outside = jwt.encode({"alg": "RS256", "kid": RSA.kid}, claims(ACME, **{member: sign_in}), RSA)
    found = await verifier.verify(outside)
    assert (found.sign_in, found.device_id) == (None, None)
    found = await verifier.verify(ours(**{member: sign_in}))
    assert UUID(int=9) in (found.sign_in, found.device_id)
    found = await verifier.verify(ours(**{member: "no uuid"}))
    assert (found.sign_in, found.device_id) == (None, None)


DAY = 86_400


@pytest.mark.parametrize(
    "times",
    [
        {"exp": NOW + DAY + 1},
        {"exp": NOW + 10 * 365 * DAY},
        {"iat": NOW - 60, "exp": NOW + DAY},
        {"iat": 0, "exp": NOW + 900},
        {"iat": None, "exp": NOW + DAY + LEEWAY_SECONDS + 2},
        {"iat": None, "exp": 1e300},
    ],
)
async def test_a_token_that_lives_too_long_is_refused(verifier: TokenVerifier, times: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="valid for more than 86400 seconds"):
        await verifier.verify(ours(**times))


@pytest.mark.parametrize("times", [{"exp": NOW + DAY}, {"iat": None, "exp": NOW + DAY}, {"iat": NOW - 800, "exp": NOW + DAY - 800}])
async def test_a_token_may_live_for_a_day(verifier: TokenVerifier, times: dict[str, Any]) -> None:
    assert (await verifier.verify(ours(**times))).subject == "ada"


async def test_without_iat_a_token_counts_as_the_oldest_it_can_be(verifier: TokenVerifier) -> None:
    found = await verifier.verify(ours(iat=None))
    assert (found.issued_at, found.expires_at) == (NOW + 900 - DAY, NOW + 900)


PUBLIC_PEM = RSA.as_pem(private=False)

ATTACKS: dict[str, tuple[Callable[[], str], str]] = {
    "no algorithm": (lambda: f"{encoded({'alg': 'none'})}.{encoded(claims())}.", "alg"),
    "no algorithm, in capitals": (lambda: f"{encoded({'alg': 'None'})}.{encoded(claims())}.", "alg"),
    "no algorithm, signed": (lambda: hand_made({"alg": "none"}, claims()), "alg"),
    "another secret": (lambda: hand_made({"alg": "HS256"}, claims(), b"guessed"), "signature"),
    "an empty secret": (lambda: hand_made({"alg": "HS256"}, claims(), b""), "signature"),
    "no signature": (lambda: ours().rpartition(".")[0] + ".", "signature"),
    "a changed payload": (
        lambda: ".".join([ours().split(".")[0], encoded(claims(sub="root")), ours().split(".")[2]]),
        "signature",
    ),
    "another HMAC": (lambda: jwt.encode({"alg": "HS512"}, claims(), OctKey.import_key(SECRET), algorithms=["HS512"]), "alg"),
    "ours, signed asymmetrically": (lambda: signed(RSA, "RS256", issuer=ISSUER), "alg"),
    "a provider's, signed with our secret": (lambda: hand_made({"alg": "HS256"}, claims(ACME)), "alg"),
    "a provider's, its public key as HMAC secret": (
        lambda: hand_made({"alg": "HS256", "kid": "rsa-1"}, claims(ACME), PUBLIC_PEM),
        "alg",
    ),
    "a published symmetric key": (lambda: hand_made({"alg": "HS256", "kid": "oct-1"}, claims(ACME)), "alg"),
    "RS256 named, symmetric key meant": (lambda: hand_made({"alg": "RS256", "kid": "oct-1"}, claims(ACME)), "kid"),
    "an algorithm that is not allowed": (lambda: signed(RSA, "PS256"), "alg"),
    "an algorithm that the key is not for": (lambda: hand_made({"alg": "ES256", "kid": "rsa-1"}, claims(ACME)), "signature"),
    "a stranger's key under a known name": (lambda: signed(STRANGER_RSA, "RS256"), "signature"),
    "a key that is not published": (lambda: signed(RSA, "RS256", header={"kid": "rsa-2"}), "kid"),
    "the key of another issuer": (lambda: signed(OTHER_RSA, "RS256"), "kid"),
    "no key named among several": (lambda: signed(RSA, "RS256", header={"kid": None}), "kid"),
    "a key for encryption": (lambda: signed(ENCRYPTION_RSA, "RS256"), "kid"),
    "a key brought along": (
        lambda: signed(STRANGER_RSA, "RS256", header={"jwk": STRANGER_RSA.as_dict(private=False)}),
        "signature",
    ),
    "one provider speaking for another": (lambda: signed(OTHER_RSA, "RS256", issuer=ACME), "kid"),
    "a provider speaking for us": (lambda: signed(RSA, "RS256", issuer=ISSUER), "alg"),
    "an unknown issuer": (lambda: ours(iss="https://evil.example"), "iss"),
    "no issuer": (lambda: ours(iss=None), "iss"),
    "issuers in a list": (lambda: ours(iss=[ISSUER]), "iss"),
    "no expiry": (lambda: ours(exp=None), "exp"),
    "expiry as text": (lambda: ours(exp="tomorrow"), "exp"),
    "expiry that is no number": (lambda: ours(exp=float("nan")), "exp"),
    "expiry at infinity": (lambda: ours(exp=float("inf")), "exp"),
    "no subject": (lambda: ours(sub=None), "sub"),
    "an empty subject": (lambda: ours(sub=""), "sub"),
    "a number as subject": (lambda: ours(sub=7), "sub"),
    "a subject too long to keep": (lambda: ours(sub="x" * 256), "sub"),
    "a subject with a NUL": (lambda: ours(sub="a\0b"), "sub"),
    "a subject with half a character": (lambda: ours(sub="\ud800"), "sub"),
    "no audience": (lambda: ours(aud=None), "aud"),
    "another audience": (lambda: ours(aud="somebody else"), "aud"),
    "an empty list of audiences": (lambda: ours(aud=[]), "aud"),
    "not valid yet": (lambda: ours(nbf=NOW + 60), "nbf"),
    "issued in the future": (lambda: ours(iat=NOW + 60), "iat"),
    "a critical extension": (lambda: hand_made({"alg": "HS256", "crit": ["exp"], "exp": 1}, claims()), "not a signed JWT"),
    "an unencoded payload": (lambda: hand_made({"alg": "HS256", "crit": ["b64"], "b64": False}, claims()), "not a signed JWT"),
    "critical, but no list": (lambda: hand_made({"alg": "HS256", "crit": 5}, claims()), "not a signed JWT"),
    "a header that is a list": (lambda: hand_made(["alg"], claims()), "not a signed JWT"),
    "a header that is text": (lambda: hand_made("alg", claims()), "not a signed JWT"),
    "an algorithm that is a list": (lambda: hand_made({"alg": ["HS256"]}, claims()), "not a signed JWT"),
    "a payload that is a list": (lambda: hand_made({"alg": "HS256"}, [1]), "not a signed JWT"),
    "a payload that is no JSON": (lambda: hand_made({"alg": "HS256"}, b"\xff"), "not a signed JWT"),
    "a payload without a bottom": (lambda: hand_made({"alg": "HS256"}, b"[" * 5000), "not a signed JWT"),
    "a header without a bottom": (lambda: f"{encoded(b'[' * 350)}.{encoded(claims())}.x", "not a signed JWT"),
    "not base64": (lambda: "!.!.!", "not a signed JWT"),
    "not ASCII": (lambda: ours() + "ö", "not a signed JWT"),
    "five parts": (lambda: "a.b.c.d.e", "not a signed JWT"),
    "nothing": (lambda: "", "not a signed JWT"),
    "dots": (lambda: "..", "not a signed JWT"),
    "a book": (lambda: "x" * (MAX_TOKEN_CHARS + 1), "longer"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused_and_says_why(verifier: TokenVerifier, attack: str) -> None:
    make, reason = ATTACKS[attack]
    with pytest.raises(Unauthenticated, match=reason) as refused:
        await verifier.verify(make())
    assert refused.value.code == "unauthenticated"
    assert "eyJ" not in refused.value.detail, "an error must not repeat the token"


@pytest.mark.parametrize("name", [None, 7])
async def test_an_unusable_name_is_no_name(verifier: TokenVerifier, name: object) -> None:
    assert (await verifier.verify(ours(name=name))).name is None


async def test_an_outside_provider_cannot_have_our_name(http: httpx2.AsyncClient, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="our own issuer"):
        TokenVerifier(secret=SECRET, issuer=ISSUER, audience=AUDIENCE, outside={ISSUER: "https://x"}, http=http, clock=clock)


def test_the_forger_signs_as_the_library_does() -> None:
    """Guards the table above: what it makes is refused for the reason named, not for being clumsy."""
    assert jwt.decode(ours(), OctKey.import_key(SECRET), algorithms=["HS256"]).claims == claims()
