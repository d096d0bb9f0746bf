"""Attacks on limits and on sign-in: requests that are refused, made without end. One network, one signed-in user, or none."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx2

from tests.attackers.attacks import Arena, Attack
from tests.fakes.people import World

CALLEES = 100
AT_ONCE = 8


async def ring_people_who_do_not_exist(arena: Arena, seconds: float) -> str:
    """Refused rings that name a conversation and a hundred people who do not exist, each time others."""
    eve = await arena.world.person("Eve")

    async def ring(http: httpx2.AsyncClient, _number: int) -> int:
        callee_ids = [str(uuid4()) for _ in range(CALLEES)]
        body = {"call_type": "audio", "conversation_id": str(uuid4()), "callee_ids": callee_ids}
        answer = await http.post("/v1/calls/initiate", json=body, headers={"authorization": f"Bearer {eve.token}"})
        return answer.status_code

    return await _repeat(arena.world, seconds, ring, at_once=AT_ONCE)


async def fail_to_sign_in(arena: Arena, seconds: float) -> str:
    """Wrong sign-ins from all addresses of one IPv6 /64, on many connections, half of them to one account."""

    async def sign_in(http: httpx2.AsyncClient, number: int) -> int:
        email = "doctor@hospital.example" if number % 2 else f"{number}@hospital.example"
        address = f"2001:db8:1:1:{number % 0xFFFF:x}::1"
        body = {"email": email, "password": "wrong password"}
        return (await http.post("/v1/auth/login", json=body, headers={"x-forwarded-for": address})).status_code

    return await _repeat(arena.world, seconds, sign_in, at_once=AT_ONCE * 4)


async def refresh_with_unknown_tokens(arena: Arena, seconds: float) -> str:
    """Refreshes and sign-outs with tokens that do not exist, and health checks, from one address."""
    requests: tuple[tuple[str, str, dict[str, str] | None], ...] = (
        ("POST", "/v1/auth/refresh", {"refresh_token": "x" * 43}),
        ("POST", "/v1/auth/logout", {"refresh_token": "x" * 43}),
        ("GET", "/health", None),
    )

    async def ask(http: httpx2.AsyncClient, number: int) -> int:
        method, path, body = requests[number % len(requests)]
        return (await http.request(method, path, json=body, headers={"x-forwarded-for": "203.0.113.66"})).status_code

    return await _repeat(arena.world, seconds, ask, at_once=AT_ONCE)


async def _repeat(
    world: World, seconds: float, request: Callable[[httpx2.AsyncClient, int], Coroutine[Any, Any, int]], *, at_once: int
) -> str:
    """Make requests until the time is over; how many, by status."""
    until, answers, number = time.monotonic() + seconds, Counter[int](), 0
    async with httpx2.AsyncClient(base_url=world.url, trust_env=False, timeout=30.0) as http:

        async def work() -> None:
            nonlocal number
            while time.monotonic() < until:
                number += 1
                with suppress(httpx2.TransportError):
                    answers[await request(http, number)] += 1

        await asyncio.gather(*(work() for _ in range(at_once)))
    return f"{answers.total()} requests, {dict(sorted(answers.items()))}"


STRANGERS: tuple[Attack, ...] = (ring_people_who_do_not_exist, fail_to_sign_in, refresh_with_unknown_tokens)
