"""When a call is good, by a clock that the test moves."""

from secureconnect.robot.judge import DEADLINE_SECONDS, GOOD_SECONDS, Judge, Reading


def flowing(now: float) -> Reading:
    return Reading(frames=round(15 * now), audible_seconds=0.5 * now)


def verdicts(*sides: list[Reading]) -> list[bool | None]:
    judge = Judge(sides=len(sides))
    return [judge.observe(readings, now / 4) for now, readings in enumerate(zip(*sides, strict=True))]


TIMES = [tick / 4 for tick in range(int(DEADLINE_SECONDS * 4) + 1)]


def test_ten_seconds_of_media_both_ways_are_good() -> None:
    readings = [flowing(now) for now in TIMES]
    found = verdicts(readings, readings)
    assert found.index(True) == 1 + GOOD_SECONDS * 4


def test_pictures_without_sound_are_not_enough() -> None:
    deaf = [Reading(frames=round(15 * now)) for now in TIMES]
    found = verdicts([flowing(now) for now in TIMES], deaf)
    assert True not in found
    assert found[-1] is False


def test_a_stop_starts_the_count_again() -> None:
    stopping = [flowing(now if now < 8 else max(8.0, now - 4)) for now in TIMES]
    found = verdicts(stopping, [flowing(now) for now in TIMES])
    assert found.index(True) == (12.25 + GOOD_SECONDS) * 4


def test_nothing_at_all_ends_at_the_deadline() -> None:
    silent = [Reading()] * len(TIMES)
    assert verdicts(silent, silent)[-2:] == [None, False]
