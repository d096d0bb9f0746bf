"""Webhooks over HTTP: one signed POST, and what the answer means. Called by webhooks.delivery and by the doctor.

Where to is a setting of the operator's, never of a user's: it may be an address inside. Redirects are not followed.
"""

from collections.abc import Sequence

import httpx2

from secureconnect.clock import Clock
from secureconnect.push import Delivered, Refused, Retry, Verdict
from secureconnect.push.answers import not_reached, try_later
from secureconnect.webhooks import Webhook
from secureconnect.webhooks.signing import headers_of

GONE = 410
"""By the specification: the receiver wants no more of these."""


class WebhookSender:
    """Posts events to one URL, signed with each of `secrets`. Connections are kept for the next ones."""

    def __init__(self, url: str, secrets: Sequence[bytes], clock: Clock, *, version: str) -> None:
        self._url = url
        self._secrets = secrets
        self._clock = clock
        self._agent = f"SecureConnect/{version}"
        self._http = httpx2.AsyncClient(timeout=None, follow_redirects=False, trust_env=False)

    async def send(self, webhook: Webhook) -> Verdict:
        """Any 2xx is an acknowledgment. May be cancelled when it takes too long."""
        now = self._clock.now()
        headers = {"content-type": "application/json", "user-agent": self._agent}
        headers |= headers_of(str(webhook.event_id), int(now.timestamp()), webhook.body, self._secrets)
        try:
            response = await self._http.post(self._url, content=webhook.body, headers=headers)
        except httpx2.HTTPError as failure:
            return not_reached(failure)
        if response.is_success:
            return Delivered(str(response.status_code))
        if response.status_code == GONE:
            return Refused("410")
        if response.status_code in (429, 503):
            return try_later(response, now)
        return Retry(str(response.status_code))

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()
