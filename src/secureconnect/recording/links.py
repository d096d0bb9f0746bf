"""Links to films that are kept in a folder: who has one may fetch the film until it expires, and needs no token. Pure.

A browser that plays or saves a film sends no Authorization header with it. Amazon's links work the same way.
"""

import hashlib
import hmac
from datetime import datetime

from secureconnect.ids import RecordingId


def signature_of(key: bytes, recording_id: RecordingId, expires: int) -> str:
    """What makes a link good until `expires`, Unix seconds."""
    return hmac.new(key, f"film {recording_id} {expires}".encode(), hashlib.sha256).hexdigest()


def is_good(key: bytes, recording_id: RecordingId, expires: int, signature: str, now: datetime) -> bool:
    """Whether a link was made with this key, and has not expired."""
    expected = signature_of(key, recording_id, expires)
    return hmac.compare_digest(expected.encode(), signature.encode()) and now.timestamp() < expires
