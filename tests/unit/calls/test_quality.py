"""From a client's word to numbers that can be kept, and from those to what a listener would think."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secureconnect.calls.quality import Report, mos_of, report_of

sizes = st.one_of(st.none(), st.floats(0, 60_000))
shares = st.one_of(st.none(), st.floats(0, 1))


@pytest.mark.parametrize(
    ("report", "score"),
    [
        # R = 93.2 - 0.024 * delay - 0.11 * (delay - 177.3) - 95 * lost / (lost + 25.1), worked out by hand from G.107.
        (Report(rtt_ms=0, loss=0), 4.38),  # R 91.8
        (Report(rtt_ms=100, jitter_ms=5, loss=0), 4.34),  # delay 120, R 90.3
        (Report(rtt_ms=400, jitter_ms=20, loss=0), 3.71),  # delay 300, R 72.5: what people begin to feel
        (Report(rtt_ms=40, loss=0.05), 3.84),  # R 75.5
        (Report(rtt_ms=40, loss=0.25), 2.26),  # R 43.9
        (Report(rtt_ms=60_000, loss=1), 1.0),
    ],
)
def test_the_score_is_that_of_the_model(report: Report, score: float) -> None:
    assert mos_of(report) == pytest.approx(score, abs=0.01)


def test_who_knows_nothing_has_no_score() -> None:
    assert mos_of(Report(level=4, in_kbps=300)) is None


@given(sizes, sizes, shares, st.floats(0, 500), st.floats(0, 0.5))
def test_a_worse_network_never_scores_better(
    rtt: float | None, jitter: float | None, loss: float | None, more_ms: float, more_loss: float
) -> None:
    better = mos_of(Report(rtt_ms=rtt, jitter_ms=jitter, loss=loss))
    worse = mos_of(Report(rtt_ms=(rtt or 0) + more_ms, jitter_ms=jitter, loss=min(1, (loss or 0) + more_loss)))
    assert worse is not None
    assert 1 <= worse <= 4.5
    assert better is None or worse <= better


def test_what_makes_sense_is_kept_and_the_rest_is_not() -> None:
    assert report_of(b'{"level":3,"rtt_ms":48,"loss":0.01,"in_kbps":812,"anything":{"else":[1]}}') == Report(
        level=3, rtt_ms=48, loss=0.01, in_kbps=812
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"words":"all is well"}',
        b'{"rtt_ms":-1}',
        b'{"rtt_ms":"fast"}',
        b'{"loss":1.5}',
        b'{"level":5}',
        b'{"in_kbps":1e300}',
        b'{"loss":NaN}',
        b"{" * 100_000,
        b"",
        b"\xff\xfe",
    ],
)
def test_nonsense_is_not_kept(raw: bytes) -> None:
    assert report_of(raw) is None
