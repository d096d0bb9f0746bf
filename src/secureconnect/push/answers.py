"""What providers' HTTP answers have in common. Called by the senders. Pure."""

from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx2

from secureconnect.push import Retry

DETAIL_CHARS = 120


def retry_after(response: httpx2.Response, now: datetime) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3), given as seconds or as a date, in seconds from `now`. None when there is none."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - now).total_seconds())


def not_reached(failure: httpx2.HTTPError) -> Retry:
    """No answer at all. The failure's own words could hold an address with a token in it, so only its kind is told."""
    return Retry(f"not reached: {type(failure).__name__}")


def try_later(response: httpx2.Response, now: datetime, reason: str = "") -> Retry:
    """The provider is busy or ill."""
    return Retry(f"{response.status_code} {reason}".strip()[:DETAIL_CHARS], retry_after(response, now))
