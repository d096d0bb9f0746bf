"""What a session's reports do to the pictures that it is sent."""

import json

from secureconnect.calls.sfu_layers import OUTAGE_SECONDS, Layers
from secureconnect.media import Stream
from secureconnect.signaling.protocol import Tile
from secureconnect.signaling.sfu_frames import Source

STREAM = Stream("0", "ann", "a", Source.CAMERA, active=True)


class Watching:
    """One session that shows another large."""

    def __init__(self) -> None:
        self.layers = Layers()
        self.layers.view([Tile("ann", Source.CAMERA, 1280, 720)])
        self.sent = self.at(0.0)

    def at(self, now: float) -> int | None:
        """The layer of the picture, as the client has been told it."""
        for told in self.layers.decide([STREAM], now).told:
            self.sent = told.substream
        return self.sent

    def report(self, now: float, **said: float) -> int | None:
        """What is sent after it says this."""
        self.layers.report(json.dumps(said).encode(), now)
        return self.at(now)


def test_less_is_sent_when_the_line_loses() -> None:
    one = Watching()
    assert one.sent == 2
    assert one.report(10.0, loss=0.5, in_kbps=300) == 1


def test_what_is_lost_on_the_way_up_takes_nothing_away() -> None:
    assert Watching().report(10.0, loss=0.5, loss_in=0.0) == 2


def test_what_a_change_of_network_has_lost_is_not_held_against_the_new_one() -> None:
    one = Watching()
    assert one.report(10.0, loss_in=0.9) is None
    one.layers.reroute(12.0)
    assert one.report(12.5, loss_in=0.5) == 2
    assert one.report(12.0 + OUTAGE_SECONDS, loss_in=0.5) == 1
