"""Raw members of frames: what every client can read is passed on, and nothing else."""

import pytest
from msgspec import Raw

from secureconnect.signaling.handlers import Refusal, parse
from secureconnect.signaling.raw_json import MAX_DEPTH, find_fault

CANDIDATE = b'{"type":"ice_candidate","candidate":%s}'
REPORT = b'{"type":"quality","report":%s}'
UNREADABLE = {
    "5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "400 digits": b'{"a":' + b"9" * 400 + b"}",
    "more than 64 bits": b'{"a":%d}' % 2**64,
    "the same, negative": b'{"a":-%d}' % 2**64,
    "infinite": b'{"a":1e999}',
    "infinite, negative": b'{"a":-1E+0999}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "a list of infinite": b'{"a":[[1,2,{"b":1e999}]]}',
    "a leading zero": b'{"a":01}',
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep lists": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "just too deep": b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
}


@pytest.mark.parametrize("frame", [CANDIDATE, REPORT], ids=["candidate", "report"])
@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_what_some_clients_cannot_read_is_malformed(frame: bytes, raw: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse(frame % raw)
    assert refused.value.code == "malformed"
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("frame", [CANDIDATE, REPORT], ids=["candidate", "report"])
@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"a":1e308,"b":-1e308,"c":0.5,"d":9007199254740991,"e":true,"f":null,"g":"1e999","h":"%s"}' % (b"9" * 5000),
        b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1),
        b'{"candidate":"candidate:1 1 udp 1 203.0.113.9 46154 typ srflx","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EEtu"}',
    ],
)
def test_anything_else_is_passed_on(frame: bytes, raw: bytes) -> None:
    parse(frame % raw)


def test_the_end_of_candidates_is_no_object() -> None:
    parse(CANDIDATE % b"null")


@pytest.mark.parametrize("epoch", [b"9" * 60, b"9" * 5000, b"-1", b"1e999", b"%d" % 2**53])
@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"switched","epoch":%s}',
        b'{"type":"offer","sdp":"v=0","epoch":%s}',
        b'{"type":"ice_candidate","candidate":null,"epoch":%s}',
        b'{"type":"ice_restart","epoch":%s}',
    ],
)
def test_an_epoch_that_a_browser_cannot_count_is_malformed(frame: bytes, epoch: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse(frame % epoch)
    assert refused.value.code == "malformed"


def test_what_is_no_json_is_named() -> None:
    assert find_fault(Raw(b"{")) is not None
