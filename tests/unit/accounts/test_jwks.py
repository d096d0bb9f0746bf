"""A provider's keys: fetched when needed, rarely otherwise, and kept while the provider is away."""

import anyio
import httpx2
import pytest
from joserfc.jwk import RSAKey

from secureconnect.accounts.jwks import FRESH_SECONDS, REFETCH_SECONDS, RETRY_SECONDS, KeyRing
from secureconnect.errors import Unauthenticated, Unavailable
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
FIRST = RSAKey.generate_key(2048, {"kid": "first"})
SECOND = RSAKey.generate_key(2048, {"kid": "second"})


class Provider:
    """An identity provider whose answer a test changes; counts how often it was asked."""

    def __init__(self, *keys: RSAKey) -> None:
        self.keys = list(keys)
        self.failing: httpx2.Response | Exception | None = None
        self.asked = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        if isinstance(self.failing, Exception):
            raise self.failing
        return self.failing or httpx2.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})

    def ring(self, clock: ManualClock) -> KeyRing:
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return KeyRing("https://id.example/jwks", client, clock)


async def test_keys_are_fetched_once_for_many(clock: ManualClock) -> None:
    provider = Provider(FIRST)
    ring = provider.ring(clock)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ring.find, "first")
    assert provider.asked == 1


async def test_the_only_key_needs_no_name_but_one_of_two_does(clock: ManualClock) -> None:
    assert (await Provider(FIRST).ring(clock).find(None)).kid == "first"
    with pytest.raises(Unauthenticated):
        await Provider(FIRST, SECOND).ring(clock).find(None)


async def test_a_new_key_is_fetched_when_a_token_names_it(clock: ManualClock) -> None:
    provider = Provider(FIRST)
    ring = provider.ring(clock)
    await ring.find("first")
    provider.keys.append(SECOND)
    clock.advance(REFETCH_SECONDS)
    assert (await ring.find("second")).kid == "second"
    assert provider.asked == 2


async def test_made_up_key_names_do_not_flood_the_provider(clock: ManualClock) -> None:
    provider = Provider(FIRST)
    ring = provider.ring(clock)
    for second in range(int(REFETCH_SECONDS)):
        with pytest.raises(Unauthenticated, match="kid"):
            await ring.find(f"made up {second}")
        clock.advance(1)
    assert provider.asked == 1
    with pytest.raises(Unauthenticated):
        await ring.find("made up")
    assert provider.asked == 2


async def test_a_withdrawn_key_is_refused_once_the_keys_are_stale(clock: ManualClock) -> None:
    provider = Provider(FIRST, SECOND)
    ring = provider.ring(clock)
    await ring.find("first")
    provider.keys.remove(FIRST)
    clock.advance(FRESH_SECONDS)
    with pytest.raises(Unauthenticated):
        await ring.find("first")


FAILURES = [
    httpx2.Response(500),
    httpx2.Response(302, headers={"location": "https://evil.example"}),
    httpx2.Response(200, content=b"<html>"),
    httpx2.Response(200, json={"keys": []}),
    httpx2.Response(200, json={"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "first"}]}),
    httpx2.Response(200, json={"keys": [{"kty": "RSA", "kid": "first"}]}),
    httpx2.Response(200, json={"keys": "first"}),
    httpx2.Response(200, content=b" " * (256 * 1024 + 1)),
    httpx2.ConnectError("connection refused"),
    httpx2.ReadTimeout("too slow"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_the_last_good_keys_serve_while_the_provider_fails(clock: ManualClock, failure: httpx2.Response | Exception) -> None:
    provider = Provider(FIRST)
    ring = provider.ring(clock)
    await ring.find("first")
    provider.failing = failure
    clock.advance(FRESH_SECONDS)
    assert (await ring.find("first")).kid == "first"
    assert (await ring.find("first")).kid == "first"
    assert provider.asked == 2, "a failing provider is left alone for a while"
    provider.failing = None
    provider.keys = [SECOND]
    clock.advance(RETRY_SECONDS)
    with pytest.raises(Unauthenticated):
        await ring.find("first")


async def test_without_any_keys_yet_it_is_not_the_bearers_fault(clock: ManualClock) -> None:
    provider = Provider(FIRST)
    ring = provider.ring(clock)
    provider.failing = httpx2.ConnectError("connection refused")
    with pytest.raises(Unavailable) as refused:
        await ring.find("first")
    assert refused.value.retry_after == RETRY_SECONDS
    provider.failing = None
    clock.advance(RETRY_SECONDS)
    assert (await ring.find("first")).kid == "first"


async def test_while_one_request_refreshes_the_others_use_what_is_there(clock: ManualClock) -> None:
    release = anyio.Event()
    asked = 0

    async def slow_the_second_time(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        if asked == 2:
            await release.wait()
        return httpx2.Response(200, json={"keys": [FIRST.as_dict(private=False)]})

    ring = KeyRing("https://id.example/jwks", httpx2.AsyncClient(transport=httpx2.MockTransport(slow_the_second_time)), clock)
    await ring.find("first")
    clock.advance(FRESH_SECONDS)
    async with anyio.create_task_group() as group:
        group.start_soon(ring.find, "first")
        while asked < 2:
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            await ring.find("first")
        release.set()
