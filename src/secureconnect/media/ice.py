"""The ICE servers that clients are given (RFC 8445). Called by api.calls and at a signaling socket's welcome."""

from collections.abc import Sequence

from secureconnect.ids import CallId, UserId
from secureconnect.signaling.protocol import IceServer


class IceServerList:
    """STUN servers as configured. Without any, peers meet where their own addresses reach each other."""

    def __init__(self, stun_urls: Sequence[str]) -> None:
        self._servers = [IceServer(urls=list(stun_urls))] if stun_urls else []

    def servers_for(self, user_id: UserId, call_id: CallId) -> list[IceServer]:
        """For this user in this call."""
        return self._servers
