"""Pushes as log lines, for development: what would be sent is said instead. Takes any token; nothing secret is written."""

import structlog

from secureconnect.ids import short
from secureconnect.push import Delivered, Push, Verdict

log = structlog.get_logger(__name__)


class LogSender:
    """Always delivers, to the log."""

    async def send(self, push: Push) -> Verdict:
        log.info("push to log", type=push.payload["type"], call=short(push.call_id), device=short(push.device_id))
        return Delivered()

    async def close(self) -> None:
        return
