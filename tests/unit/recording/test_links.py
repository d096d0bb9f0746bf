"""A link opens one film until its time is over, and no forged one opens any."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from secureconnect.ids import RecordingId
from secureconnect.recording.links import is_good, signature_of

KEY, FILM, OTHER = b"a secret of ours", RecordingId(UUID(int=1)), RecordingId(UUID(int=2))
END = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
EXPIRES = int(END.timestamp())
SIGNATURE = signature_of(KEY, FILM, EXPIRES)
BEFORE, AFTER = END - timedelta(seconds=1), END + timedelta(seconds=1)


def test_it_is_good_until_it_expires() -> None:
    assert is_good(KEY, FILM, EXPIRES, SIGNATURE, BEFORE)
    assert not is_good(KEY, FILM, EXPIRES, SIGNATURE, END)
    assert not is_good(KEY, FILM, EXPIRES, SIGNATURE, AFTER)


@pytest.mark.parametrize(
    ("key", "film", "expires", "signature"),
    [
        (b"another secret", FILM, EXPIRES, SIGNATURE),
        (KEY, OTHER, EXPIRES, SIGNATURE),
        (KEY, FILM, EXPIRES + 3600, SIGNATURE),
        (KEY, FILM, EXPIRES, SIGNATURE.upper()),
        (KEY, FILM, EXPIRES, SIGNATURE[:-1]),
        (KEY, FILM, EXPIRES, ""),
        (KEY, FILM, EXPIRES, "é" * 64),
    ],
)
def test_it_opens_nothing_else(key: bytes, film: RecordingId, expires: int, signature: str) -> None:
    assert not is_good(key, film, expires, signature, BEFORE)
