"""Whether the outside application takes events: one of type `webhook.test`, signed as all others, about no call."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from msgspec import json

from secureconnect.clock import SystemClock
from secureconnect.config import Settings
from secureconnect.doctor.finding import Finding, failed, ok, skipped
from secureconnect.ids import CallId
from secureconnect.push import Delivered
from secureconnect.senders import make_webhook_sender
from secureconnect.webhooks import EventType, Webhook

ANSWER_SECONDS = 10.0


async def webhook(settings: Settings, version: str) -> Finding:
    """One finding."""
    clock = SystemClock()
    sender = make_webhook_sender(settings, clock, version)
    if sender is None:
        return skipped("webhook", "webhook_url is not set")
    now = clock.now()
    body = json.encode({"type": EventType.TEST, "timestamp": now, "data": {}})
    test = Webhook(uuid4(), CallId(UUID(int=0)), EventType.TEST, body, now + timedelta(seconds=ANSWER_SECONDS))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            verdict = await sender.send(test)
    except TimeoutError:
        return failed("webhook", f"no answer within {ANSWER_SECONDS:g} s", "let webhook_url answer at once, and work afterwards")
    finally:
        await sender.close()
    if isinstance(verdict, Delivered):
        return ok("webhook", f"took a signed event of type {EventType.TEST}: {verdict.detail}")
    return failed(
        "webhook",
        f"a signed event of type {EventType.TEST}: {verdict.detail}",
        "let webhook_url take every signed event with 2xx, those it does not know too; compare webhook_secret on both sides",
    )
