"""Who is seen where and when."""

from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secureconnect.recording import Track
from secureconnect.recording.layout import (
    FRAMES_PER_SECOND,
    HEIGHT,
    MOST_CAMERAS,
    MOST_SCENES,
    SHORTEST_SECONDS,
    WIDTH,
    Stretch,
    Tile,
    scenes,
    tiles,
    whole_frames,
)
from secureconnect.signaling.sfu_frames import Source


def track(session_id: str, source: Source = Source.CAMERA, name: str = "1") -> Track:
    return Track(Path(name), "video", "vp8", source, session_id, datetime(2026, 1, 1, tzinfo=UTC))


ANN, BEN, CEM = (track(name) for name in ("ann", "ben", "cem"))
SCREEN = track("ben", Source.SCREEN)


@pytest.mark.parametrize(
    ("people", "places"),
    [
        (0, []),
        (1, [(0, 0, 1280, 720)]),
        (2, [(0, 0, 640, 720), (640, 0, 640, 720)]),
        (3, [(0, 0, 640, 360), (640, 0, 640, 360), (320, 360, 640, 360)]),
        (4, [(0, 0, 640, 360), (640, 0, 640, 360), (0, 360, 640, 360), (640, 360, 640, 360)]),
        (5, [(0, 0, 426, 360), (426, 0, 426, 360), (852, 0, 426, 360), (214, 360, 426, 360), (640, 360, 426, 360)]),
    ],
)
def test_cameras_fill_an_even_grid(people: int, places: list[tuple[int, int, int, int]]) -> None:
    shown = tiles([track(f"{number}") for number in range(people)])
    assert [tile.track.session_id for tile in shown] == [f"{number}" for number in range(people)]
    assert [(tile.x, tile.y, tile.width, tile.height) for tile in shown] == places


def test_a_screen_is_large_and_cameras_stand_beside_it() -> None:
    assert tiles([SCREEN]) == (Tile(SCREEN, 0, 0, 1280, 720),)
    assert tiles([ANN, BEN, SCREEN]) == (
        Tile(SCREEN, 0, 0, 960, 720),
        Tile(ANN, 960, 180, 320, 180),
        Tile(BEN, 960, 360, 320, 180),
    )
    assert len(tiles([*(track(f"{number}") for number in range(30)), SCREEN])) == 5


def test_of_two_screens_the_later_is_large() -> None:
    other = track("ann", Source.SCREEN)
    assert [tile.track for tile in tiles([SCREEN, ANN, other])] == [other, SCREEN, ANN]


def shown(stretches: list[Stretch], seconds: float) -> list[tuple[float, float, list[str]]]:
    return [
        (scene.begin, scene.end, [f"{tile.track.session_id} {tile.track.path}" for tile in scene.tiles])
        for scene in scenes(stretches, seconds)
    ]


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([], [(0, 10, [])]),
        ([Stretch(ANN, 0, 10)], [(0, 10, ["ann 1"])]),
        # Somebody comes, and the other goes.
        (
            [Stretch(ANN, 0, 7), Stretch(BEN, 3, 10)],
            [(0, 3, ["ann 1"]), (3, 7, ["ann 1", "ben 1"]), (7, 10, ["ben 1"])],
        ),
        # Nobody for a while: black.
        ([Stretch(ANN, 2, 4), Stretch(ANN, 6, 10)], [(0, 2, []), (2, 4, ["ann 1"]), (4, 6, []), (6, 10, ["ann 1"])]),
        # Pictures that start a little after the film, or after a cut, are in the scene from its beginning.
        ([Stretch(ANN, 0.3, 10), Stretch(BEN, 0.9, 10)], [(0, 10, ["ann 1", "ben 1"])]),
        (
            [Stretch(ANN, 0, 10), Stretch(BEN, 3, 10), Stretch(CEM, 3.6, 10)],
            [(0, 3, ["ann 1"]), (3, 10, ["ann 1", "ben 1", "cem 1"])],
        ),
        # Who goes at once after a cut is seen for the shortest scene, and who comes and goes in between, not at all.
        ([Stretch(ANN, 0, 10), Stretch(BEN, 3, 3.2)], [(0, 3, ["ann 1"]), (3, 4, ["ann 1", "ben 1"]), (4, 10, ["ann 1"])]),
        # A call that moves to another SFU is recorded in another file; the place stays the same.
        (
            [Stretch(ANN, 0, 5), Stretch(BEN, 0.1, 10), Stretch(track("ann", name="2"), 5.4, 10)],
            [(0, 5, ["ann 1", "ben 1"]), (5, 10, ["ann 2", "ben 1"])],
        ),
        # What changes in the last moment is not worth a scene; what changes between two frames waits for the next.
        ([Stretch(ANN, 0, 10), Stretch(BEN, 9.5, 10)], [(0, 10, ["ann 1"])]),
        ([Stretch(ANN, 0, 10), Stretch(BEN, 5.01, 10)], [(0, 5.04, ["ann 1"]), (5.04, 10, ["ann 1", "ben 1"])]),
    ],
)
def test_the_film_is_cut_where_somebody_comes_or_goes(
    stretches: list[Stretch], expected: list[tuple[float, float, list[str]]]
) -> None:
    assert shown(stretches, 10) == expected


def test_a_film_without_length_has_no_scenes() -> None:
    assert scenes([Stretch(ANN, 0, 1)], 0.01) == scenes([], -1) == []


def test_a_picture_that_is_away_for_a_moment_stands_still() -> None:
    assert shown([Stretch(ANN, 0, 4), Stretch(ANN, 4.9, 10)], 10) == [(0, 10, ["ann 1"])]


def test_coming_and_going_for_hours_costs_a_bounded_number_of_scenes() -> None:
    crowd = [Stretch(track(f"{index % 50}"), 3.0 * index, 3.0 * index + 7) for index in range(6000)]
    assert 100 < len(scenes(crowd, 18_000)) <= MOST_SCENES


times = st.floats(0, 60)
tracks = st.builds(track, st.sampled_from("abcdefghij"), st.sampled_from([Source.CAMERA, Source.SCREEN]), st.sampled_from("12"))
stretches = st.lists(
    st.builds(lambda track, begin, length: Stretch(track, begin, begin + length), tracks, times, times), max_size=30
)


@given(stretches, st.floats(0.02, 60))
def test_scenes_cover_the_film_without_a_gap(stretches: list[Stretch], seconds: float) -> None:
    found = scenes(stretches, seconds)
    assert [scene.end for scene in found[:-1]] == [scene.begin for scene in found[1:]]
    length = whole_frames(seconds)
    assert (not found) == (length == 0)
    if found:
        assert (found[0].begin, found[-1].end) == (0, length)
        assert sum(scene.frames for scene in found) == round(length * FRAMES_PER_SECOND)
        assert all(scene.frames >= SHORTEST_SECONDS * FRAMES_PER_SECOND - 1 for scene in found) or len(found) == 1
    assert all(one.tiles != other.tiles for one, other in pairwise(found))


@given(stretches, st.floats(0.02, 60))
def test_who_is_seen_is_there(stretches: list[Stretch], seconds: float) -> None:
    for scene in scenes(stretches, seconds):
        for tile in scene.tiles:
            assert any(
                stretch.track == tile.track and stretch.begin <= scene.begin + SHORTEST_SECONDS and stretch.end > scene.begin
                for stretch in stretches
            )


@given(st.lists(tracks, max_size=40, unique=True))
def test_tiles_lie_within_the_picture_and_not_on_each_other(shown: list[Track]) -> None:
    placed = tiles(shown)
    assert (len(placed) > 0) == (len(shown) > 0)
    assert len(placed) <= MOST_CAMERAS
    assert len({tile.track for tile in placed}) == len(placed)
    for tile in placed:
        assert not any(number % 2 for number in (tile.x, tile.y, tile.width, tile.height))
        assert tile.width >= 128
        assert tile.height >= 72
        assert 0 <= tile.x <= WIDTH - tile.width
        assert 0 <= tile.y <= HEIGHT - tile.height
    for one, other in combinations(placed, 2):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        above = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert beside or above
