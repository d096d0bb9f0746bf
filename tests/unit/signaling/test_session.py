"""The arithmetic of a session, number by number."""

import base64
from uuid import UUID

import pytest

from secureconnect.bus import Entry
from secureconnect.ids import CallId, SessionId
from secureconnect.keys import InternalKeys
from secureconnect.signaling.protocol import QUEUE_BYTES, QUEUE_MESSAGES
from secureconnect.signaling.session import OpeningQueue, ResumeTokens, TokenBucket, is_for, is_too_slow, missed

SESSION, OTHER = SessionId(UUID(int=1)), SessionId(UUID(int=2))
CALL, ANOTHER_CALL = CallId(UUID(int=3)), CallId(UUID(int=4))
TOKENS = ResumeTokens(InternalKeys("a secret"))


class TestTokenBucket:
    def test_so_many_at_once(self) -> None:
        bucket = TokenBucket(rate=2.0, burst=3, now=100.0)
        assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]

    def test_so_many_a_second(self) -> None:
        bucket = TokenBucket(rate=2.0, burst=1, now=0.0)
        assert bucket.take(0.0)
        assert [bucket.take(now) for now in (0.25, 0.5, 0.75, 1.0)] == [False, True, False, True]

    def test_a_rest_gives_no_more_than_the_burst(self) -> None:
        bucket = TokenBucket(rate=2.0, burst=3, now=0.0)
        assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]

    def test_asking_in_vain_costs_nothing(self) -> None:
        bucket = TokenBucket(rate=1.0, burst=1, now=0.0)
        assert bucket.take(0.0)
        assert not any(bucket.take(number / 100) for number in range(99))
        assert bucket.take(1.0)


class TestResumeTokens:
    def test_a_token_gives_its_session_back_on_every_node_that_knows_the_secret(self) -> None:
        token = TOKENS.make(SESSION, CALL)
        assert ResumeTokens(InternalKeys("a secret")).read(token, CALL) == SESSION

    def test_it_fits_into_a_url(self) -> None:
        assert all(character.isalnum() or character in "-_=" for character in TOKENS.make(SESSION, CALL))

    def test_one_of_another_secret_is_forged(self) -> None:
        assert ResumeTokens(InternalKeys("another secret")).read(TOKENS.make(SESSION, CALL), CALL) is None

    def test_one_of_another_call_is_none_here(self) -> None:
        assert TOKENS.read(TOKENS.make(SESSION, CALL), ANOTHER_CALL) is None

    def test_its_session_cannot_be_exchanged(self) -> None:
        raw = base64.urlsafe_b64decode(TOKENS.make(SESSION, CALL))
        forged = base64.urlsafe_b64encode(OTHER.bytes + raw[16:]).decode()
        assert TOKENS.read(forged, CALL) is None

    def test_every_bit_counts(self) -> None:
        raw = base64.urlsafe_b64decode(TOKENS.make(SESSION, CALL))
        for position in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[position // 8] ^= 1 << position % 8
            assert TOKENS.read(base64.urlsafe_b64encode(changed).decode(), CALL) is None

    @pytest.mark.parametrize("length", [0, 1, 4, 16, 31, 33])
    def test_a_truncated_or_longer_one_is_none(self, length: int) -> None:
        raw = (base64.urlsafe_b64decode(TOKENS.make(SESSION, CALL)) + b"\0")[:length]
        assert TOKENS.read(base64.urlsafe_b64encode(raw).decode(), CALL) is None

    @pytest.mark.parametrize("token", ["", "=", "a", "not base64!", "ünïcode", "\0", "A" * 10_000])
    def test_what_is_no_token_is_none(self, token: str) -> None:
        assert TOKENS.read(token, CALL) is None


class TestWhoHears:
    @pytest.mark.parametrize(
        ("sender", "target", "hears"),
        [
            ("other", "", True),
            ("other", "me", True),
            ("other", "my-user", True),
            ("other", "somebody", False),
            ("", "", True),
            ("me", "", False),
            ("me", "my-user", False),
            ("me", "me", False),
        ],
    )
    def test_what_others_say_to_one_or_to_all(self, sender: str, target: str, hears: bool) -> None:
        assert is_for(Entry(1, sender, target, b"{}"), "me", "my-user") is hears

    def test_what_was_missed_is_what_would_have_been_heard(self) -> None:
        entries = [Entry(1, "other", "", b""), Entry(2, "me", "", b""), Entry(3, "other", "x", b""), Entry(4, "", "my-user", b"")]
        assert [entry.seq for entry in missed(entries, "me", "my-user")] == [1, 4]


@pytest.mark.parametrize(
    ("messages", "size", "slow"),
    [
        (0, 0, False),
        (QUEUE_MESSAGES, QUEUE_BYTES, False),
        (QUEUE_MESSAGES + 1, 0, True),
        (1, QUEUE_BYTES + 1, True),
    ],
)
def test_who_does_not_read_is_given_up(messages: int, size: int, slow: bool) -> None:
    assert is_too_slow(messages, size) is slow


def test_what_waits_for_an_opening_socket_has_a_limit() -> None:
    queue = OpeningQueue()
    for number in range(QUEUE_MESSAGES):
        queue.add(Entry(number, "", "", b"{}"))
    assert [entry.seq for entry in queue.entries] == list(range(QUEUE_MESSAGES))
    for number in range(3):
        queue.add(Entry(number, "", "", b"{}"))
    assert (queue.is_full, queue.entries) == (True, [])


def test_that_limit_is_one_in_bytes_too() -> None:
    queue = OpeningQueue()
    for number in range(QUEUE_BYTES // 60_000 + 1):
        queue.add(Entry(number, "", "", b"x" * 60_000))
    assert queue.is_full
