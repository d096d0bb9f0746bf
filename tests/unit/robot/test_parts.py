"""The small pure parts: waiting, candidates, problems, the outbox."""

import json

import pytest

from secureconnect.robot.backoff import LONGEST_SECONDS, Backoff
from secureconnect.robot.candidates import parse_candidate, take_candidates
from secureconnect.robot.problems import problem
from secureconnect.robot.sockets import Outbox

CANDIDATE = "candidate:1 1 udp 2113937151 192.0.2.2 50000 typ host"
SDP = "\r\n".join(
    [
        "v=0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=ice-ufrag:abcd",
        f"a={CANDIDATE}",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=ice-ufrag:abcd",
        f"a={CANDIDATE}",
        "",
    ]
)


def test_waits_grow_and_are_bounded() -> None:
    backoff = Backoff(lambda: 0.5)
    assert [backoff.failed() for _ in range(4)] == [0.125, 0.25, 0.5, 1.0]
    assert max(backoff.failed() for _ in range(10)) == LONGEST_SECONDS / 2
    backoff.succeeded()
    assert backoff.failed() == 0.125


def test_candidates_are_taken_out_once() -> None:
    bare, candidates = take_candidates(SDP)
    assert candidates == [CANDIDATE]
    assert bare.ufrags == {"abcd"}
    assert "candidate" not in bare.text
    assert bare.text.endswith("a=ice-ufrag:abcd\r\n")


def test_the_end_of_candidates_comes_last() -> None:
    _, candidates = take_candidates(f"a=end-of-candidates\r\na={CANDIDATE}\r\n")
    assert candidates == [CANDIDATE, None]


def test_a_candidate_is_parsed_and_nonsense_is_not() -> None:
    parsed = parse_candidate(CANDIDATE)
    assert parsed is not None
    assert (parsed.ip, parsed.port, parsed.type) == ("192.0.2.2", 50000, "host")
    assert parse_candidate("") is None
    assert parse_candidate("candidate:1 one udp x y z typ host") is None


def test_a_problem_keeps_its_code() -> None:
    body = b'{"type":"about:blank","title":"Call ended","status":409,"detail":"The call is over.","code":"call_ended"}'
    made = problem(409, {}, body)
    assert (made.status, made.code, made.detail, made.retry_after) == (409, "call_ended", "The call is over.", None)
    assert not made.passing


def test_a_page_of_a_gateway_is_a_problem_too() -> None:
    made = problem(503, {"Retry-After": "2"}, b"<html>")
    assert (made.code, made.retry_after, made.passing) == ("unknown", 2.0, True)


def test_the_outbox_repeats_what_was_not_confirmed_in_order() -> None:
    outbox = Outbox()
    for name in ("a", "b", "c"):
        outbox.put({"type": name})
    written = []
    while (frame := outbox.next()) is not None:
        written.append(json.loads(frame))
    assert [frame["type"] for frame in written] == ["a", "b", "c"]
    outbox.confirm(written[1]["ref"])
    outbox.again()
    outbox.put({"type": "d"})
    again = []
    while (frame := outbox.next()) is not None:
        again.append(json.loads(frame)["type"])
    assert again == ["a", "c", "d"]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_new_session_owes_nothing(resumed: bool) -> None:
    outbox = Outbox()
    outbox.put({"type": "offer"})
    outbox.next()
    if resumed:
        outbox.again()
    else:
        outbox.clear()
    assert (outbox.next() is not None) is resumed
