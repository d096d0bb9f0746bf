"""Which layer is sent: by the tile, by the line, without going to and fro, and back again."""

from hypothesis import given
from hypothesis import strategies as st

from secureconnect.media.layers import CALM_SECONDS, KBPS, Choice, Line, Picture, Reason, chosen, heard

ANN, BOB, CYN = ("ann", "camera"), ("bob", "camera"), ("cyn", "camera")
SCREEN = ("ann", "screen")
FREE = Line()
Sent = dict[tuple[str, str], int | None]


def sent(choices: dict[tuple[str, str], Choice]) -> Sent:
    return {key: choice.substream for key, choice in choices.items()}


def test_a_picture_is_as_large_as_its_tile() -> None:
    pictures = [Picture(ANN, 720), Picture(BOB, 360), Picture(CYN, 120)]
    choices = chosen(pictures, FREE, {}, 0.0)
    assert sent(choices) == {ANN: 2, BOB: 1, CYN: 0}
    assert [choices[key].reason for key in (ANN, BOB, CYN)] == [None, Reason.SIZE, Reason.SIZE]


def test_what_is_not_shown_is_not_sent() -> None:
    assert chosen([Picture(ANN, 0)], FREE, {}, 0.0) == {ANN: Choice(None, Reason.SIZE)}


def test_a_screen_is_sent_whole_in_the_smallest_tile() -> None:
    assert sent(chosen([Picture(SCREEN, 100, is_screen=True)], FREE, {}, 0.0)) == {SCREEN: 2}


def test_a_small_line_gives_a_smaller_layer_and_says_why() -> None:
    assert chosen([Picture(ANN, 720)], Line(700.0, 0.0), {ANN: 2}, 0.0) == {ANN: Choice(1, Reason.BANDWIDTH)}


def test_a_line_that_carries_sound_alone_has_no_picture() -> None:
    assert chosen([Picture(ANN, 720)], Line(80.0, 0.0), {ANN: 2}, 0.0) == {ANN: Choice(None, Reason.BANDWIDTH)}


def test_everybody_is_seen_a_little_before_anybody_is_seen_well() -> None:
    pictures = [Picture(ANN, 720), Picture(BOB, 180), Picture(CYN, 180)]
    assert sent(chosen(pictures, Line(900.0, 0.0), {ANN: 2, BOB: 0, CYN: 0}, 0.0)) == {ANN: 1, BOB: 0, CYN: 0}


def test_the_smallest_tiles_go_first() -> None:
    pictures = [Picture(ANN, 720), Picture(BOB, 170), Picture(CYN, 90)]
    assert sent(chosen(pictures, Line(400.0, 0.0), {ANN: 1, BOB: 0, CYN: 0}, 0.0)) == {ANN: 0, BOB: 0, CYN: None}


def test_it_does_not_go_to_and_fro() -> None:
    """A line that just carries a layer keeps it, and is not given it."""
    line, picture = Line(KBPS[1] + 45.0, -100.0), [Picture(ANN, 720)]
    assert sent(chosen(picture, line, {ANN: 1}, 0.0)) == {ANN: 1}
    assert sent(chosen(picture, line, {ANN: 0}, 0.0)) == {ANN: 0}


def test_it_is_given_more_when_the_line_has_been_calm() -> None:
    line, picture = Line(2000.0 * 1.25, 0.0), [Picture(ANN, 720)]
    assert sent(chosen(picture, line, {ANN: 0}, CALM_SECONDS - 1)) == {ANN: 0}
    assert sent(chosen(picture, line, {ANN: 0}, CALM_SECONDS)) == {ANN: 2}


def test_what_the_client_believes_is_believed() -> None:
    line = heard(FREE, available=800.0, loss=None, sent=1740.0, now=5.0)
    assert line.kbps == 800.0
    assert heard(line, available=400.0, loss=None, sent=1740.0, now=9.0) == Line(400.0, 9.0)


def after(line: Line, now: float, *losses: float, sent: float = 1000.0) -> Line:
    """The line after a report every two seconds."""
    for loss in losses:
        now += 2.0
        line = heard(line, available=None, loss=loss, sent=sent, now=now)
    return line


def test_loss_without_an_estimate_is_a_limit_and_is_forgotten_when_it_ends() -> None:
    line = after(FREE, -2.0, 0.2)
    assert line == Line(800.0, 0.0)
    assert after(line, 0.0, *[0.0] * 20) == FREE


def test_what_was_on_its_way_when_less_was_sent_is_not_held_against_the_line_again() -> None:
    line = after(FREE, -2.0, 0.5, 0.5)
    assert line == Line(500.0, 0.0)
    assert after(line, 2.0, 0.5).kbps == 250.0


def test_a_line_that_was_tried_in_vain_is_left_alone_for_longer_each_time() -> None:
    line, now = after(FREE, -2.0, 0.3, 0.0, 0.3), 2.0
    assert line.calm == 8.0, "that it was smaller still is no trial"
    calms = []
    for _ in range(4):
        now += 40.0
        line = after(after(line, now - 2, 0.0), now, 0.3)
        calms.append(line.calm)
    assert calms == [16.0, 32.0, 32.0, 32.0]
    assert after(line, now + 2, *[0.0] * 10).kbps == line.kbps
    assert after(line, now + 34, *[0.0] * 20) == FREE


def test_a_report_that_says_nothing_changes_nothing() -> None:
    assert heard(Line(300.0, 1.0), available=None, loss=None, sent=1740.0, now=50.0) == Line(300.0, 1.0)


heights = st.integers(0, 2000)
keys = st.sampled_from([ANN, BOB, CYN, SCREEN, ("dan", "camera"), ("eve", "camera")])
pictures = st.lists(st.builds(Picture, keys, heights, st.booleans()), unique_by=lambda one: one.key, max_size=6)


@given(
    pictures,
    st.one_of(st.none(), st.floats(0, 20_000)),
    st.dictionaries(keys, st.one_of(st.none(), st.integers(0, 2))),
    st.floats(0, 100),
)
def test_no_more_is_sent_than_is_wanted_or_carried_and_asking_again_changes_nothing(
    pictures: list[Picture], kbps: float | None, before: Sent, now: float
) -> None:
    line = Line(kbps, 0.0)
    choices = chosen(pictures, line, before, now)
    assert choices.keys() == {one.key for one in pictures}
    for one in pictures:
        substream = choices[one.key].substream
        assert substream is None or (one.wanted is not None and substream <= one.wanted)
    if kbps is not None:
        assert sum(KBPS[choice.substream] for choice in choices.values() if choice.substream is not None) <= max(0.0, kbps - 40.0)
    assert sent(chosen(pictures, line, sent(choices), now)) == sent(choices) or now >= CALM_SECONDS
