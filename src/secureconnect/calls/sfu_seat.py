"""One session of this node and what it has at the SFU: who asks what, in the order it was asked, and what the client is told.

Made by `calls.at_sfu`. Everything is a step of `calls.sfu_steps`, one at a time, so that nothing is answered before it was asked.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog
from msgspec import UNSET, Struct

from secureconnect.bus import Bus
from secureconnect.calls import sfu_place
from secureconnect.calls.sfu_layers import Layers
from secureconnect.calls.sfu_place import Place, feeds_for
from secureconnect.calls.sfu_steps import Steps
from secureconnect.clock import Clock
from secureconnect.errors import BadSdp, ServiceError, SfuUnavailable, StaleEpoch
from secureconnect.ids import CallId, UserId, short
from secureconnect.media import BadDescription, Member, Room, Seat, Sfu, SfuError, SfuLost, Stream, Track
from secureconnect.media.sdp import candidate_in, fault_of, kind_of
from secureconnect.signaling.protocol import Answer, ClientMessage, IceCandidate, IceRestart, Offer, View, encode
from secureconnect.signaling.sfu_frames import SFU, ReceivedStream, SfuAnswer, SfuOffer, Speaker
from secureconnect.signaling.sfu_frames import Layers as LayersFrame

MAX_WAITING = 64
MAX_WAITING_BYTES = 512 * 1024
"""Messages of one client that wait for the SFU; more are refused."""
RELEASE_SECONDS = 15.0
"""How long a session keeps what it has at the SFU after the call has gone another way; its client lets go sooner."""
AGAIN_SECONDS = 0.5
"""How long before what could not be received yet is asked for again."""

log = structlog.get_logger(__name__)

Refuse = Callable[[ServiceError, str | None], None]


class Occupant(Struct, frozen=True):
    """Whose seat it is, where it is heard, and how its client is told of a message that was refused."""

    topic: str
    call_id: CallId
    user_id: UserId
    session_id: str


class Way(Struct, frozen=True):
    """The room that a call's media goes by in an epoch."""

    epoch: int
    room: Room


class Surroundings(Struct, frozen=True):
    """What all seats of a node share. `connection_id` makes a new name."""

    sfu: Sfu
    bus: Bus
    clock: Clock
    node: str
    connection_id: Callable[[], str]


class SfuSeat:
    """What one session has at the SFU. `places` are those of its call; `on_lost` is told when the SFU of a way is gone for it."""

    def __init__(
        self, occupant: Occupant, around: Surroundings, *, places: dict[str, Place], refuse: Refuse, on_lost: Callable[[Way], None]
    ) -> None:
        self.occupant = occupant
        self.refuse = refuse
        self.streams: tuple[Stream, ...] = ()
        self.is_over = False
        self._around = around
        self._places = places
        self._on_lost = on_lost
        self._way: Way | None = None
        self._sat: Way | None = None
        self._seat: Seat | None = None
        self._publishing: str | None = None
        self._tracks: tuple[Track, ...] = ()
        self._is_heard = False
        self._receiving: str | None = None
        self._is_answered = True
        self._layers = Layers()
        self._silenced: frozenset[str] = frozenset()
        self._recording: str | None = None
        self._is_syncing = False
        self._waiting_bytes = 0
        self._steps = Steps(short(occupant.session_id), around.clock, on_lost=self._lose)

    @property
    def is_taken(self) -> bool:
        """Whether the session has something at the SFU, or is about to."""
        return self._seat is not None or self._steps.is_under_way

    # What happens to it: plain calls

    def follow(self, way: Way | None) -> None:
        """The call goes this way now; None: by no SFU."""
        if way != self._way:
            self._way = way
            self._steps.do(self._follow)

    def sync(self) -> None:
        """Others publish other things than before. Many changes at once are one step."""
        if not self._is_syncing and self._sat is not None:
            self._is_syncing = True
            self._steps.do(self._sync)

    def take(self, message: ClientMessage) -> None:
        """What the client says to the SFU."""
        ref = message.ref or None
        if isinstance(message, View):
            self._layers.view(message.tiles)
            self._steps.do_once(self._choose)
        elif self._steps.waiting >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self.refuse(SfuUnavailable("More waits for the SFU than it can do: slow down."), ref)
        else:
            self._waiting_bytes += message.size
            self._steps.do(partial(self._guarded, message, ref))

    def report(self, raw: bytes) -> None:
        """What the client says of its connection."""
        if self._seat is not None:
            self._layers.report(raw, self._around.clock.monotonic())
            self._steps.do_once(self._choose)

    def silence(self, kinds: frozenset[str], *, silent: bool) -> None:
        """Forward nothing of these kinds, `audio` or `video`, or forward it again."""
        after = self._silenced | kinds if silent else self._silenced - kinds
        if after != self._silenced:
            self._silenced = after
            self._steps.do_once(self._apply_silence)

    def record(self, recording_id: str | None) -> None:
        """Have the room written down under this name, or no longer. Every seat says so: who made the room may be elsewhere."""
        if recording_id != self._recording:
            self._recording = recording_id
            self._steps.do_once(self._apply_recording)

    def give_up(self) -> None:
        """The session has left the call."""
        self.is_over, self._way = True, None
        self._steps.do(self._leave)

    async def hand_over(self) -> None:
        """The session is another node's now, or this one's no more: what it has stays as it is."""
        seat, self._seat, self._sat, self._way = self._seat, None, None, None
        self._steps.cancel()
        self._waiting_bytes = 0
        if seat is not None:
            seat.let_go()

    # Steps

    async def _follow(self) -> None:
        way = self._way
        if way is None:
            # The client lets go of its connections once it has others: then, or after a while, there is nothing to keep.
            self._steps.do_later(self._release, RELEASE_SECONDS)
        elif way != self._sat:
            await self._leave()
            await self._sit(way)
            await self._sync()

    async def _sit(self, way: Way) -> None:
        who = Member(self.occupant.session_id, str(self.occupant.user_id))
        kept = self._places.get(self.occupant.session_id)
        if kept is not None and (kept.epoch, kept.sfu) == (way.epoch, way.room.sfu):
            self._seat = await self._around.sfu.claim(way.room, who, kept.handles, frozenset(kept.feeds), self)
            self._publishing, self._tracks, self._is_heard = kept.publishing, kept.tracks, kept.is_heard
            self._receiving, self.streams, self._silenced = kept.receiving, kept.streams, frozenset(kept.silenced)
        else:
            self._seat = await self._open(way, who)
        self._sat = way
        self._tell_nodes()
        if self._recording is not None:
            await self._apply_recording()

    async def _open(self, way: Way, who: Member) -> Seat:
        """Whoever has sat down there for this session last, and is no more, may be in the way for a moment."""
        try:
            return await self._around.sfu.open(way.room, who, self)
        except SfuLost:
            raise
        except SfuError:
            self._steps.do_later(self._follow, AGAIN_SECONDS)
            raise

    async def _leave(self) -> None:
        seat, self._seat, self._sat = self._seat, None, None
        self._publishing, self._tracks, self._is_heard = None, (), False
        self._receiving, self.streams, self._is_answered = None, (), True
        if seat is not None:
            self._tell_nodes()
            await seat.leave()

    async def _release(self) -> None:
        """Leave, unless the call has come back to an SFU."""
        if self._way is None:
            await self._leave()

    async def _sync(self) -> None:
        """Receive what there is to receive now."""
        self._is_syncing = False
        if self._seat is None or self._sat is None or self._sat != self._way:
            return
        wanted = feeds_for(self.occupant.session_id, self._places.items(), epoch=self._sat.epoch, sfu=self._sat.room.sfu)
        if self._receiving is None and wanted:
            self._receiving = self._around.connection_id()
            self._layers.begin_anew()
        if not await self._seat.want(wanted):
            self._steps.do_later(self._sync, AGAIN_SECONDS)

    async def _choose(self) -> None:
        """Send of each picture what its tile needs and the line carries."""
        if self._seat is None or self._receiving is None:
            return
        now = self._around.clock
        change = self._layers.decide(self.streams, now.monotonic())
        await self._seat.choose(change.layers)
        if change.told:
            one = self.occupant
            frame = encode(LayersFrame(one.call_id, now.now(), change.told))
            self._around.bus.publish(one.topic, frame, sender=SFU, target=one.session_id)

    async def _apply_silence(self) -> None:
        if self._seat is not None:
            for track in self._tracks:
                await self._seat.silence(track.mid, silent=kind_of(track.source) in self._silenced)
            self._tell_nodes()

    async def _apply_recording(self) -> None:
        if self._seat is not None and self._sat == self._way:
            await self._seat.record(self._recording)

    def _lose(self, reason: str) -> None:
        way, self._seat, self._sat = self._sat or self._way, None, None
        if way is not None and way == self._way:
            log.warning("SFU seat lost", session=short(self.occupant.session_id), epoch=way.epoch, reason=reason)
            self._on_lost(way)

    # What the client says

    async def _guarded(self, message: ClientMessage, ref: str | None) -> None:
        self._waiting_bytes -= message.size
        try:
            await self._heed(message)
        except ServiceError as refusal:
            self.refuse(refusal, ref)
        except BadDescription as fault:
            self.refuse(BadSdp(f"sdp: {fault}"), ref)
        except SfuError as failure:
            self.refuse(SfuUnavailable(), ref)
            if isinstance(failure, SfuLost):
                raise

    async def _heed(self, message: ClientMessage) -> None:
        assert isinstance(message, Offer | IceCandidate | IceRestart)
        if message.epoch is not UNSET and self._way is not None and message.epoch != self._way.epoch:
            raise StaleEpoch
        if self._seat is None or self._sat is None or self._sat != self._way:
            raise SfuUnavailable
        connection = message.connection_id or ""
        match message:
            case IceCandidate():
                if connection in (self._publishing, self._receiving):
                    await self._seat.trickle(candidate_in(bytes(message.candidate)), publishing=connection == self._publishing)
            case IceRestart():
                await self._restart(self._seat, connection)
            case Answer():
                if connection == self._receiving:
                    self._is_answered = True
                    await self._seat.answer(msgspec.json.decode(message.sdp, type=str))
                    await self._choose()
            case Offer():
                await self._publish(self._seat, self._sat, connection, message)

    async def _publish(self, seat: Seat, way: Way, connection: str, offer: Offer) -> None:
        sdp: str = msgspec.json.decode(offer.sdp, type=str)
        tracks = tuple(Track(track.mid, track.source) for track in offer.tracks or ())
        fault = fault_of(sdp, tracks)
        if fault is not None:
            raise BadSdp(fault)
        is_new = connection != self._publishing
        if is_new and self._publishing is not None:
            # Another page, or one that begins anew: what it received by is gone as well.
            self._is_heard = False
            self._tell_nodes()
            await self._receive_anew(seat)
        answer = await seat.publish(sdp, tracks, anew=is_new)
        self._publishing, self._tracks = connection, tracks
        frame = SfuAnswer(self.occupant.call_id, self._around.clock.now(), SFU, SFU, connection, way.epoch, answer)
        self._publish_frame(encode(frame))
        if self._is_heard:
            self._tell_nodes()
        if self._silenced:
            await self._apply_silence()
        if is_new:
            await self._sync()

    async def _restart(self, seat: Seat, connection: str) -> None:
        self._layers.reroute(self._around.clock.monotonic())
        if self._receiving is None or connection != self._receiving or not self._is_answered:
            await self._receive_anew(seat)
            await self._sync()
        else:
            self._offer(await seat.restart(), self.streams)

    async def _receive_anew(self, seat: Seat) -> None:
        self._receiving, self.streams, self._is_answered = None, (), True
        await seat.receive_anew()

    # What the SFU says: it is the `Listener` of its seat

    def offered(self, sdp: str, streams: Sequence[Stream]) -> None:
        if self._receiving is None:
            self._receiving = self._around.connection_id()
            self._layers.begin_anew()
        self.streams = tuple(streams)
        self._offer(sdp, self.streams)

    def published(self) -> None:
        self._is_heard = True
        self._tell_nodes()

    def unpublished(self) -> None:
        if self._is_heard:
            self._is_heard = False
            self._tell_nodes()
        self._publishing, self._tracks = None, ()
        self._let_go_when_done()

    def stopped_receiving(self) -> None:
        """The next change of what there is offers another connection, or its client asks for one."""
        self._receiving, self.streams, self._is_answered = None, (), True
        self._let_go_when_done()

    def talking(self, is_talking: bool) -> None:
        one = self.occupant
        frame = Speaker(one.call_id, self._around.clock.now(), one.user_id, one.session_id, is_talking)
        self._around.bus.publish(one.topic, encode(frame), sender=SFU)

    def lost(self) -> None:
        self._lose("the SFU has ended it")

    def _let_go_when_done(self) -> None:
        if self._way is None and self._publishing is None and self._receiving is None:
            self._steps.do(self._release)

    # What others hear

    def _offer(self, sdp: str, streams: Sequence[Stream]) -> None:
        if self._sat is None or self._receiving is None:
            return
        self._is_answered = False
        shown = [ReceivedStream(one.mid, one.session_id, one.user_id, one.source, one.active) for one in streams]
        now = self._around.clock.now()
        self._publish_frame(
            encode(SfuOffer(self.occupant.call_id, now, SFU, SFU, self._receiving, self._sat.epoch, sdp, shown)),
        )

    def _publish_frame(self, body: bytes) -> None:
        """To the client; what another node must know to take over changes in the same step."""
        one = self.occupant
        kept = sfu_place.retained(one.session_id, self._place())
        self._around.bus.publish(one.topic, body, sender=SFU, target=one.session_id, retain=kept)

    def _tell_nodes(self) -> None:
        one, place = self.occupant, self._place()
        kept = sfu_place.retained(one.session_id, place)
        self._around.bus.publish(one.topic, sfu_place.entry(place), sender=one.session_id, target=one.session_id, retain=kept)

    def _place(self) -> Place | None:
        if self._seat is None or self._sat is None:
            return None
        return Place(
            node=self._around.node,
            epoch=self._sat.epoch,
            sfu=self._sat.room.sfu,
            handles=self._seat.handles,
            publishing=self._publishing,
            tracks=self._tracks,
            is_heard=self._is_heard,
            receiving=self._receiving,
            streams=self.streams,
            feeds=tuple(self._seat.feeds),
            silenced=tuple(self._silenced),
        )
