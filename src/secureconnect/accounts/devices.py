"""The devices of a person: how each can be woken, and how one is signed out from afar. Called by api.devices.

Must not talk to a provider: whether a token is any good shows when the first push is sent.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Literal
from uuid import UUID

from msgspec import Struct, json
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.events import DeviceRevoked
from secureconnect.accounts.revocations import Revocations
from secureconnect.bus import Bus, user_topic
from secureconnect.clock import Clock
from secureconnect.errors import NotFound, Unprocessable
from secureconnect.ids import DeviceId, UserId
from secureconnect.push import Provider
from secureconnect.push.subscription import Subscription, fault_of
from secureconnect.signaling.protocol import encode
from secureconnect.store import Database
from secureconnect.store import devices as store
from secureconnect.store.accounts import SignedInDevice, revoke_device, signed_in_devices
from secureconnect.store.devices import Device

REGISTRATIONS_PER_USER = 20
"""Beyond this the one seen longest ago is forgotten: a ring costs a request for each."""
TOKENS = {
    Provider.FCM: re.compile(r"[\w:.\-]{16,4096}", re.ASCII),
    # The token becomes part of a URL. Apple keeps its length open (32 bytes today).
    Provider.APNS: re.compile(r"(?:[0-9a-fA-F]{2}){16,100}"),
    Provider.APNS_VOIP: re.compile(r"(?:[0-9a-fA-F]{2}){16,100}"),
    Provider.LOG: re.compile(r"[!-~]{1,128}"),
}
"""What a provider's token looks like."""

OnRevoked = Callable[[UserId, DeviceId], Awaitable[None]]
Platform = Literal["android", "ios", "web", "desktop"]


class Registration(Struct, frozen=True):
    """How a device wants to be woken: by the `subscription` of a browser, or by the `token` of any other provider."""

    platform: Platform
    provider: Provider
    token: str | None = None
    subscription: Subscription | None = None


class DeviceService:
    """Keeps the addresses by which devices are woken.

    `providers` are those with a sender here, `webpush_hosts` the push services that a subscription may lead to, `webpush_key` the
    server's VAPID public key as browsers take it, None when Web Push is off.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        providers: Collection[Provider],
        *,
        bus: Bus,
        revocations: Revocations,
        on_revoked: OnRevoked,
        webpush_hosts: Collection[str] = (),
        webpush_key: str | None = None,
    ) -> None:
        self._bus = bus
        self._revocations = revocations
        self._on_revoked = on_revoked
        self._database = database
        self._clock = clock
        self._providers = frozenset(providers)
        self._webpush_hosts = tuple(host.lower() for host in webpush_hosts)
        self._webpush_key = webpush_key

    async def put(self, user_id: UserId, device_id: DeviceId, registration: Registration) -> Device:
        """Register one way to wake a device, or say that it is still there. An address that another device had is now this one's.

        Raises Unprocessable for a provider that is not configured and for a token or subscription that cannot be one.
        """
        if registration.provider not in self._providers:
            raise Unprocessable(f"provider: this server is not set up to send by {registration.provider}.")
        address, now = self._address_of(registration), self._clock.now()
        device = Device(user_id, device_id, registration.provider, registration.platform, address, now, now)

        async def work(connection: AsyncConnection) -> Device:
            kept = await store.put_device(connection, device)
            for surplus in (await store.devices_of(connection, [user_id]))[REGISTRATIONS_PER_USER:]:
                await store.remove_address(connection, surplus.address)
            return kept

        return await self._database.transact(work)

    async def forget(self, user_id: UserId, device_id: DeviceId, provider: Provider) -> None:
        """This device is woken by this provider no more; it stays signed in. Doing it again changes nothing."""
        await self._database.transact(lambda connection: store.remove_device(connection, user_id, device_id, provider))

    async def revoke(self, user_id: UserId, device_id: DeviceId) -> None:
        """Sign this device out: it is woken no more, its tokens end, its sockets close. Doing it again changes nothing.

        Its tokens are those of sign-ins that named it.
        """
        now = self._clock.now()

        async def work(connection: AsyncConnection) -> list[UUID]:
            await store.remove_device(connection, user_id, device_id)
            return await revoke_device(connection, user_id, device_id, now)

        families = await self._database.transact(work)
        # The event first: sockets close soon after the other.
        self._bus.publish(user_topic(user_id), encode(DeviceRevoked(device_id, now)))
        self._revocations.announce_sign_ins(families)
        await self._on_revoked(user_id, device_id)

    async def of_user(self, user_id: UserId) -> list[Device]:
        """All ways to wake this person, the most recently seen first; at most 20."""
        return await self._database.read(lambda connection: store.devices_of(connection, [user_id]))

    async def signed_in(self, user_id: UserId) -> list[SignedInDevice]:
        """The devices with a sign-in of this person that named them and has not ended."""
        now = self._clock.now()
        return await self._database.read(lambda connection: signed_in_devices(connection, user_id, now))

    def webpush_key(self) -> str:
        """What a browser subscribes with (`applicationServerKey`): 65 bytes as base64url. Raises NotFound when Web Push is off."""
        if self._webpush_key is None:
            raise NotFound("Web Push is not set up here: nodes that share a database need vapid_private_key.")
        return self._webpush_key

    def _address_of(self, registration: Registration) -> str:
        provider, token, subscription = registration.provider, registration.token, registration.subscription
        if provider is Provider.WEBPUSH:
            if subscription is None or token is not None:
                raise Unprocessable("subscription: webpush takes a subscription, and no token.")
            fault = fault_of(subscription, self._webpush_hosts)
            if fault is not None:
                raise Unprocessable(f"subscription.{fault}")
            return json.encode(subscription).decode()
        if token is None or subscription is not None:
            raise Unprocessable(f"token: {provider} takes a token, and no subscription.")
        if not TOKENS[provider].fullmatch(token):
            raise Unprocessable(f"token: not one that {provider} gives.")
        return token
