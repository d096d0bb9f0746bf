"""When something came, out of a list of packet times."""

from hypothesis import given
from hypothesis import strategies as st

from secureconnect.recording.packets import PacketTimes


def stretches(output: bytes, pause: float = 3.0) -> list[tuple[float, float]]:
    times = PacketTimes(pause)
    times.feed(output)
    return times.stretches()


def test_a_pause_ends_a_stretch_and_less_does_not() -> None:
    assert stretches(b"0.0\n1.0\n4.0\n7.5\n8.0\n") == [(0.0, 4.0), (7.5, 8.0)]


def test_a_single_packet_is_no_stretch() -> None:
    assert stretches(b"1.0\n") == []
    assert stretches(b"1.0\n9.0\n10.0\n19.0\n") == [(9.0, 10.0)]


def test_what_is_no_time_is_passed_over() -> None:
    assert stretches(b"N/A\n\n1.0\nnan\n2.0,K_\ninf\n2.0\n") == [(1.0, 2.0)]


def test_packets_may_come_in_another_order() -> None:
    assert stretches(b"1.0\n1.2\n1.1\n0.9\n1.3\n") == [(1.0, 1.3)]


@given(st.lists(st.floats(0, 100), max_size=50), st.lists(st.integers(1, 30), min_size=1))
def test_output_may_be_cut_anywhere(times: list[float], cuts: list[int]) -> None:
    output = "".join(f"{time:.6f}\n" for time in sorted(times)).encode()
    in_pieces = PacketTimes(3.0)
    at = 0
    while at < len(output):
        cut = cuts[at % len(cuts)]
        in_pieces.feed(output[at : at + cut])
        at += cut
    assert in_pieces.stretches() == stretches(output)


@given(st.lists(st.binary(max_size=100)))
def test_no_output_is_an_error(chunks: list[bytes]) -> None:
    times = PacketTimes(3.0)
    for chunk in chunks:
        times.feed(chunk)
    assert all(begin < end for begin, end in times.stretches())
