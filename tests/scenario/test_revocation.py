"""A device that was lost is signed out from another: it rings no more, its tokens end, its sockets close, it leaves its calls."""

from typing import Any
from uuid import uuid4

import pytest

from tests.fakes.people import Json, Person, Refused, World, person_in
from tests.scenario.conftest import on_one_and_on_many

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery staple"


async def signed_in(world: World, email: str, device_id: str) -> tuple[Person, Json]:
    """Somebody at a device that says which it is, and what the sign-in gave."""
    body = {"email": email, "password": PASSWORD, "device_id": device_id}
    given = await world.ask("POST", "/v1/auth/login", body, {})
    return Person(world, given["user"], given["access_token"], device_id), given


async def refusal(asking: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        await asking
    return refused.value.status, refused.value.code


@on_one_and_on_many
async def test_a_lost_phone_is_signed_out_from_the_laptop(world: World) -> None:
    email, phone_id, laptop_id = f"{uuid4().hex}@example.com", str(uuid4()), str(uuid4())
    await world.ask("POST", "/v1/auth/register", {"email": email, "password": PASSWORD, "display_name": "Ben"}, {})
    phone, of_phone = await signed_in(world, email, phone_id)
    laptop, _ = await signed_in(world, email, laptop_id)
    await phone.ask("PUT", f"/v1/devices/{phone_id}", {"platform": "android", "provider": "log", "token": uuid4().hex})
    listed = {one["device_id"]: (one["platform"], one["signed_in"]) for one in await laptop.all("/v1/devices?limit=100")}
    assert listed == {phone_id: ("android", True), laptop_id: (None, True)}

    ada = await world.person("Ada")
    call = await ada.initiate(await ada.converse(phone), phone)
    await phone.join(call)
    at_ada, at_phone = await ada.signaling(call), await phone.signaling(call)
    events_of_phone, events_of_laptop = await phone.events(), await laptop.events()
    await laptop.ask("DELETE", f"/v1/devices/{phone_id}")

    await at_ada.expect("leave", session_id=at_phone.welcome["session_id"], reason="left")
    assert await at_phone.closed() == 4003
    assert await events_of_phone.closed() == 4003
    await events_of_laptop.expect("device.revoked", device_id=phone_id)
    assert person_in(await ada.look(call), phone)["state"] == "left"
    assert await refusal(phone.ask("GET", "/v1/users/me")) == (401, "unauthenticated")
    assert await refusal(phone.events()) == (401, "unauthenticated")
    again = {"refresh_token": of_phone["refresh_token"]}
    assert (await refusal(world.ask("POST", "/v1/auth/refresh", again, {})))[0] == 401
    assert [one["device_id"] for one in await laptop.all("/v1/devices?limit=100")] == [laptop_id]
    assert await laptop.ask("GET", "/v1/users/me"), "the other device stays"
    await laptop.ask("DELETE", f"/v1/devices/{phone_id}")

    back, _ = await signed_in(world, email, phone_id)
    assert await back.ask("GET", "/v1/users/me"), "found again, it signs in again"


async def test_not_to_be_woken_is_not_to_be_signed_out(world: World) -> None:
    email, device_id = f"{uuid4().hex}@example.com", str(uuid4())
    await world.ask("POST", "/v1/auth/register", {"email": email, "password": PASSWORD, "display_name": "Ben"}, {})
    ben, _ = await signed_in(world, email, device_id)
    await ben.ask("PUT", f"/v1/devices/{device_id}", {"platform": "web", "provider": "log", "token": uuid4().hex})
    await ben.ask("DELETE", f"/v1/devices/{device_id}?provider=log")
    (device,) = await ben.all("/v1/devices?limit=100")
    assert (device["provider"], device["signed_in"]) == (None, True)


async def test_signing_out_ends_the_access_token_too(world: World) -> None:
    ada = await world.register("Ada")
    email = ada.user["email"]
    assert await ada.ask("GET", "/v1/users/me")
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "display_name": "Cleo"}
    given = await world.ask("POST", "/v1/auth/register", body, {})
    cleo = Person(world, given["user"], given["access_token"], str(uuid4()))
    await world.ask("POST", "/v1/auth/logout", {"refresh_token": given["refresh_token"]}, {})
    assert await refusal(cleo.ask("GET", "/v1/users/me")) == (401, "unauthenticated")
    assert email


async def test_one_revokes_only_ones_own(world: World) -> None:
    ada, mallory = await world.register("Ada"), await world.register("Mallory")
    inbox = await ada.events()
    await mallory.ask("DELETE", f"/v1/devices/{ada.device_id}")
    conversation_id = await ada.converse(mallory)
    await inbox.expect("conversation.updated", conversation_id=conversation_id)
    assert not inbox.heard("device.revoked")
