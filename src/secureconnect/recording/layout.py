"""Who is seen where and when in a film. Pure: stretches of tracks in, scenes out.

Used by `recording.compose`. A scene is a length of film in which the same pictures are seen in the same places. A shared screen is
large, with cameras in a column beside it; without one, cameras fill an even grid.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, isqrt

from msgspec import Struct

from secureconnect.recording import Track
from secureconnect.signaling.sfu_frames import Source

WIDTH, HEIGHT = 1280, 720
"""Pixels of the film."""
FRAMES_PER_SECOND = 25
SHORTEST_SECONDS = 1.0
"""Of a scene. Whoever comes or goes sooner after the last change waits for so long: what changes faster flickers."""
MOST_SCENES = 600
"""Of a film. A picture that comes and goes more often than that is followed at longer intervals: each scene costs a program's
start."""
MOST_CAMERAS = 25
"""In a grid; on smaller tiles nobody is known."""
SCREEN_WIDTH = 960
MOST_BESIDE_A_SCREEN = 4


class Stretch(Struct, frozen=True):
    """A length of film in which a track has a picture to show; `begin` and `end` in seconds of the film."""

    track: Track
    begin: float
    end: float


class Tile(Struct, frozen=True):
    """Where a track's picture is seen: pixels from the upper left corner, all of them even, as 4:2:0 needs them."""

    track: Track
    x: int
    y: int
    width: int
    height: int


class Scene(Struct, frozen=True):
    """From `begin` to `end`, seconds of the film, always whole frames. No tiles: black."""

    begin: float
    end: float
    tiles: tuple[Tile, ...]

    @property
    def frames(self) -> int:
        return round(self.end * FRAMES_PER_SECOND) - round(self.begin * FRAMES_PER_SECOND)


def whole_frames(seconds: float) -> float:
    """The time of the frame nearest to `seconds`."""
    return round(seconds * FRAMES_PER_SECOND) / FRAMES_PER_SECOND


def scenes(stretches: Iterable[Stretch], seconds: float) -> list[Scene]:
    """The scenes of a film of that length, one after the other without a gap; none when it has no length.

    It is cut where somebody comes, goes, or shares a screen. What comes within a moment of a cut is in the scene from its
    beginning: everybody's picture starts a little later than the film, and a call that moves starts them all again.
    """
    stretches = sorted(stretches, key=lambda stretch: stretch.begin)
    length, moment = whole_frames(seconds), SHORTEST_SECONDS
    if length <= 0:
        return []
    while len(found := _cut(stretches, length, moment)) > MOST_SCENES:
        moment *= 2
    return found


def _cut(stretches: Sequence[Stretch], length: float, moment: float) -> list[Scene]:
    """Into scenes of at least `moment` seconds, but for a film that is shorter."""
    found: list[Scene] = []
    view = _View(stretches, moment)
    begin, shown, looked = 0.0, tiles(view.at(0.0, ahead=moment)), 0.0
    for change in sorted({time for stretch in stretches for time in (stretch.begin, stretch.end)}):
        cut = ceil(max(change, begin + moment) * FRAMES_PER_SECOND) / FRAMES_PER_SECOND
        if cut > length - moment:
            break
        if cut == looked:
            continue
        looked = cut
        if tiles(view.at(cut)) != shown and (then := tiles(view.at(cut, ahead=moment))) != shown:
            found.append(Scene(begin, cut, shown))
            begin, shown = cut, then
    return [*found, Scene(begin, length, shown)]


class _View:
    """Who is seen at a time, asked for in the order of time; up to `moment` seconds ahead. Takes stretches by when they begin."""

    def __init__(self, stretches: Sequence[Stretch], moment: float) -> None:
        self._moment = moment
        self._to_come = deque(stretches)
        self._near: list[Stretch] = []
        self._came: dict[str, int] = {}
        for stretch in stretches:
            self._came.setdefault(stretch.track.session_id, len(self._came))

    def at(self, time: float, *, ahead: float = 0.0) -> list[Track]:
        """The tracks seen then, or that come at most `ahead` seconds later: of every session's camera and screen the newest.

        In an order that does not change while they are there, so that nobody jumps: by which session came first.
        """
        while self._to_come and self._to_come[0].begin <= time + self._moment:
            self._near.append(self._to_come.popleft())
        self._near = [stretch for stretch in self._near if stretch.end > time]
        seen = [stretch.track for stretch in self._near if stretch.begin <= time + ahead]
        newest = {(track.session_id, track.source): track for track in seen}
        return [newest[key] for key in sorted(newest, key=lambda key: (self._came[key[0]], key[1]))]


def tiles(tracks: Sequence[Track]) -> tuple[Tile, ...]:
    """Where they are seen: the tiles lie within WIDTH x HEIGHT, and none on another. Of very many, the first."""
    screens = [track for track in tracks if track.source is Source.SCREEN]
    cameras = [track for track in tracks if track.source is not Source.SCREEN]
    if not screens:
        return _grid(cameras[:MOST_CAMERAS])
    screen = screens[-1]
    beside = [*screens[:-1], *cameras][:MOST_BESIDE_A_SCREEN]
    if not beside:
        return (Tile(screen, 0, 0, WIDTH, HEIGHT),)
    height = HEIGHT // MOST_BESIDE_A_SCREEN
    top = _even((HEIGHT - height * len(beside)) // 2)
    column = (Tile(track, SCREEN_WIDTH, top + row * height, WIDTH - SCREEN_WIDTH, height) for row, track in enumerate(beside))
    return (Tile(screen, 0, 0, SCREEN_WIDTH, HEIGHT), *column)


def _grid(tracks: Sequence[Track]) -> tuple[Tile, ...]:
    """As many columns as rows, or one more; a last row that is not full stands in the middle."""
    if not tracks:
        return ()
    columns = isqrt(len(tracks) - 1) + 1
    rows = ceil(len(tracks) / columns)
    width, height = _even(WIDTH // columns), _even(HEIGHT // rows)
    top = _even((HEIGHT - rows * height) // 2)
    placed = []
    for index, track in enumerate(tracks):
        row, column = divmod(index, columns)
        in_row = min(columns, len(tracks) - row * columns)
        left = _even((WIDTH - in_row * width) // 2)
        placed.append(Tile(track, left + column * width, top + row * height, width, height))
    return tuple(placed)


def _even(pixels: int) -> int:
    return pixels & ~1
