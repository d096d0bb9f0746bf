"""The counters of one limit: bounded, and still a limit when the table is full."""

import sys

from secureconnect.ops.window import SHARED_COUNTERS, SlidingWindow


def test_a_refused_use_adds_no_counter() -> None:
    window = SlidingWindow(1)
    assert window.hit("ada", 0.0) == 0
    before = window.keys
    assert all(window.hit("ada", 1.0) > 0 for _ in range(1000))
    assert window.keys == before


def test_a_full_table_still_limits_and_does_not_grow() -> None:
    window = SlidingWindow(3, max_keys=100)
    for number in range(50_000):
        window.hit(f"2001:db8:{number:x}::/64", 0.0)
    assert window.keys <= 100 + SHARED_COUNTERS
    assert window.hit("2001:db8:5::/64", 0.0) == 0, "a counter that was there before goes on alone"
    passed = sum(window.hit("newcomer", 1.0) == 0 for _ in range(10))
    assert passed <= 3, "a newcomer has at most the limit"


def test_the_table_is_emptied_by_time() -> None:
    window = SlidingWindow(3, max_keys=100)
    for number in range(1000):
        window.hit(str(number), 0.0)
    assert window.hit("newcomer", 120.0) == 0
    assert window.keys == 1


def test_a_clock_that_is_set_back_gives_no_second_limit() -> None:
    window = SlidingWindow(2)
    assert [window.hit("ada", 600.0) for _ in range(2)] == [0, 0]
    assert window.hit("ada", 30.0) > 0


def test_a_counter_costs_a_bounded_number_of_bytes() -> None:
    window = SlidingWindow(3)
    for number in range(window.max_keys):
        window.hit(f"{number}" * 100, 0.0)
    counts = window._counts
    assert sys.getsizeof(counts) + sum(map(sys.getsizeof, counts)) < 4 * 2**20
