"""The ICE servers that clients are given (RFC 8445), with credentials that expire. Called by api.calls and at a socket's welcome.

Credentials are those of a TURN server's REST API (draft-uberti-behave-turn-rest-00; coturn's `use-auth-secret`): the server keeps
no list of users, it only knows the secret. The name in a credential is the user's, so coturn's `user-quota` is one user's in all.
It cannot be revoked, so it ends soon: with the access token that it was asked with, or a minute later.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from secureconnect.clock import Clock
from secureconnect.ids import UserId
from secureconnect.signaling.protocol import IceServer

TEST_LIFETIME = timedelta(minutes=2)
"""For a test of the network outside a call."""
BEYOND_TOKEN = timedelta(minutes=1)
"""How much longer than the access token a credential is good: the client gathers candidates with it, and renews the token."""
PORTS = {"turn": 3478, "turns": 5349}


@dataclass(frozen=True)
class TurnServer:
    """One TURN server: its URLs, one for each transport (RFC 7065), and where it stands."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    urls: list[str]
    region: str | None = None

    def __post_init__(self) -> None:
        wrong = next((url for url in self.urls if not url.startswith(("turn:", "turns:"))), None)
        if wrong is not None or not self.urls:
            raise ValueError(f'urls must be turn: or turns: URLs, as ["turn:host:3478?transport=udp"], not {wrong or "none"!r}')


def parse_turn_url(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and transport of a TURN URL (RFC 7065). Raises ValueError."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
    transport = query.removeprefix("transport=") or ("udp" if scheme == "turn" else "tcp")
    if scheme not in PORTS or not host or transport not in {"udp", "tcp"}:
        raise ValueError(f"{url!r} is no TURN URL: write turn:host:port?transport=udp")
    if (scheme, transport) == ("turns", "udp"):
        raise ValueError(f"{url!r}: TURN over DTLS is not tried here; give turns: with transport=tcp")
    return scheme, host.strip("[]"), int(port or PORTS[scheme]), transport


@dataclass(frozen=True)
class Offered:
    """What one client may use, and until when its credentials open an allocation; None when there are none."""

    servers: list[IceServer]
    expires_at: datetime | None


def turn_credentials(secret: str, holder: str, expires_at: datetime) -> tuple[str, str]:
    """Username `<unix seconds>:<holder>`, and the password that goes with it: base64 of its HMAC-SHA1."""
    username = f"{int(expires_at.timestamp())}:{holder}"
    return username, base64.b64encode(hmac.digest(secret.encode(), username.encode(), hashlib.sha1)).decode()


class IceServerList:
    """STUN servers as configured, and the TURN servers of a region. Without any, peers meet where their own addresses reach.

    `own` is the TURN server that this process runs itself, and its secret, while it runs one.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        stun_urls: Sequence[str] = (),
        turn_servers: Sequence[TurnServer] = (),
        secret: str = "",
        region: str | None = None,
        lifetime: timedelta = timedelta(hours=1),
        own: Callable[[], tuple[TurnServer, str] | None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._stun = [IceServer(urls=list(stun_urls))] if stun_urls else []
        self._turn = tuple(turn_servers)
        self._secret = secret
        self._region = region
        self._lifetime = lifetime
        self._own = own

    def servers_for(self, user_id: UserId, token_expires_at: float) -> list[IceServer]:
        """For this user in a call, in the region of this node; see `offer`."""
        return self.offer(user_id, token_expires_at).servers

    def offer(self, user_id: UserId, token_expires_at: float, *, region: str | None = None, is_test: bool = False) -> Offered:
        """The servers that a user may use, with a credential that expires.

        Args:
            user_id: the user, by whom allocations are counted.
            token_expires_at: when the access token that asks expires, seconds since 1970. The credential ends a minute later.
            region: where the TURN servers should stand; None: where this node does.
            is_test: for a test outside a call, with a credential of two minutes.
        """
        servers, secret = self._of_region(region or self._region)
        if not servers:
            return Offered(self._stun, None)
        by_token = datetime.fromtimestamp(token_expires_at, UTC) + BEYOND_TOKEN
        by_itself = self._clock.now() + (min(TEST_LIFETIME, self._lifetime) if is_test else self._lifetime)
        # Whole seconds, as the username says it.
        expires_at = min(by_token, by_itself).replace(microsecond=0)
        username, credential = turn_credentials(secret, str(user_id), expires_at)
        opened = [IceServer(urls=one.urls, username=username, credential=credential) for one in servers]
        return Offered([*self._stun, *opened], expires_at)

    def _of_region(self, region: str | None) -> tuple[list[TurnServer], str]:
        """Those that stand there or anywhere; all of them rather than none: a long way is a way."""
        own = self._own()
        if own is not None:
            return [own[0]], own[1]
        near = [one for one in self._turn if region is None or one.region in {None, region}]
        return near or list(self._turn), self._secret
