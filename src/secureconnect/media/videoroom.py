"""A session's seat at a Janus: what its VideoRoom plugin is asked, and what its events mean. Made by `media.pool`.

A seat is one Janus session with two handles: one publishes, one receives everything from everybody. Whoever owns the seat asks one
thing at a time. https://janus.conf.meetecho.com/docs/videoroom describes each; what it does not say is said here.
"""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from msgspec import Struct

from secureconnect.media import BadDescription, Feed, Handles, Layer, Listener, Member, Room, SfuError, SfuLost, Stream, Track
from secureconnect.media.janus import NO_SUCH_HANDLE, NO_SUCH_SESSION, Janus, JanusError, JanusLost, Jsep, Message
from secureconnect.media.rtx import without_rtx
from secureconnect.signaling.sfu_frames import Source

NO_SUCH_ROOM, ROOM_EXISTS, NO_SUCH_FEED, ID_TAKEN = 426, 427, 428, 436
BAD_SDP = {465, 437, 438, 490}
"""A description that cannot be parsed, of an unexpected kind, that fits no state, or for which no ICE can be set up."""
VIDEO_CODECS = "vp8,h264,vp9"
KEYFRAME_SECONDS, KEYFRAME_REQUESTS = 1.2, 6
"""Janus asks a publisher for a keyframe at most once a second, and forgets what it is asked for in between."""
LOUD_PACKETS, LOUD_LEVEL = 25, 60
"""Somebody talks when half a second of packets is louder than -60 dBov on average."""


class RoomKeys(Struct, frozen=True):
    """What opens a room: one key for those who sit in it, one for who may change it. All nodes derive them from one secret."""

    pin: str
    secret: str

    @classmethod
    def of(cls, room: str, key: bytes) -> "RoomKeys":
        """Those of the room with this name."""
        return cls(*(hmac.new(key, f"{use} {room}".encode(), hashlib.sha256).hexdigest() for use in ("pin", "secret")))


class RoomOptions(Struct, frozen=True):
    """How rooms are made: what Janus must hear from who makes one, what keys follow from, and bits a second of a publisher.

    `recordings` is the folder where this Janus writes recordings, in its own words; None: it writes none.
    """

    admin_key: str
    key: bytes
    bitrate: int
    recordings: str | None = None


class Connection(Enum):
    """How far the connection is by which a session publishes: one for each handle, and one after the other."""

    NONE = 0
    UP = 1
    OVER = 2


class VideoRoomSeat:
    """One session in one room."""

    def __init__(self, janus: Janus, room: Room, who: Member, options: RoomOptions, *, listener: Listener) -> None:
        self._janus = janus
        self._room = room
        self._who = who
        self._options = options
        self._keys = RoomKeys.of(room.name, options.key)
        self._listener = listener
        self._session = self._publisher = 0
        self._subscriber: int | None = None
        self._asked: frozenset[Feed] = frozenset()
        self._connection = Connection.NONE
        self._chosen: dict[str, int] = {}
        self._repeat: asyncio.TimerHandle | None = None
        self._repeating: asyncio.Task[None] | None = None

    @property
    def handles(self) -> Handles:
        return Handles(self._session, self._publisher, self._subscriber, self._connection is Connection.UP)

    @property
    def feeds(self) -> frozenset[Feed]:
        return self._asked

    async def open(self) -> None:
        """Sit down, in a room that is made for whoever comes first."""
        with _explained():
            self._session = await self._janus.create(self._listener.lost)
            await self._join()

    async def claim(self, handles: Handles, receiving: frozenset[Feed]) -> None:
        """Go on where another node left."""
        with _explained():
            await self._janus.claim(handles.session, self._listener.lost)
        self._session, self._publisher, self._subscriber = handles.session, handles.publisher, handles.subscriber
        self._connection = Connection.UP if handles.is_publishing else Connection.NONE
        self._asked = receiving
        self._janus.listen(self._session, self._publisher, self._on_publisher)
        if self._subscriber is not None:
            self._janus.listen(self._session, self._subscriber, self._on_subscriber)

    # What the session publishes

    async def publish(self, sdp: str, tracks: Sequence[Track], *, anew: bool) -> str:
        with _explained():
            if self._connection is Connection.OVER or (anew and self._connection is Connection.UP):
                # What is left of a connection takes its time to go; a handle of its own need not wait for that.
                await self._janus.detach(self._session, self._publisher)
                await self._join()
            body = {
                "request": "publish" if self._connection is Connection.NONE else "configure",
                "descriptions": [{"mid": track.mid, "description": track.source} for track in tracks],
            }
            reply = await self._janus.message(self._session, self._publisher, body, Jsep("offer", self._safe(sdp)))
        if reply.jsep is None:
            raise BadDescription("the offer has nothing to answer")
        self._connection = Connection.UP
        return reply.jsep.sdp

    async def silence(self, mid: str, *, silent: bool) -> None:
        body = {
            "request": "moderate",
            "room": self._room.name,
            "secret": self._keys.secret,
            "id": self._who.session_id,
            "mid": mid,
            "mute": silent,
        }
        with _explained():
            await self._janus.message(self._session, self._publisher, body)

    # What it receives

    async def want(self, feeds: frozenset[Feed]) -> bool:
        new, old = feeds - self._asked, self._asked - feeds
        if new or old:
            with _explained():
                await self._change(new, old)
        return self._asked == feeds

    async def _change(self, new: frozenset[Feed], old: frozenset[Feed]) -> None:
        try:
            reply = await self._subscribe(new, old)
        except JanusError as refusal:
            if refusal.code != NO_SUCH_FEED or len(new) + len(old) == 1:
                self._asked -= old
                if refusal.code != NO_SUCH_FEED:
                    raise
                return
            # One that is gone fails the whole request: each by itself, then.
            for feed in old:
                await self._change(frozenset(), frozenset({feed}))
            for feed in new:
                await self._change(frozenset({feed}), frozenset())
            return
        self._asked = (self._asked - old) | new
        self._offer(reply)

    async def _subscribe(self, new: frozenset[Feed], old: frozenset[Feed]) -> Message:
        wanted = [{"feed": feed.session_id, "mid": feed.mid} for feed in sorted(new, key=_order)]
        if self._subscriber is not None:
            body: dict[str, Any] = {"request": "update"}
            if wanted:
                body["subscribe"] = wanted
            if old:
                body["unsubscribe"] = [{"feed": feed.session_id, "mid": feed.mid} for feed in sorted(old, key=_order)]
            return await self._janus.message(self._session, self._subscriber, body)
        handle = await self._janus.attach(self._session, self._on_subscriber)
        body = {"request": "join", "ptype": "subscriber", "room": self._room.name, "pin": self._keys.pin, "use_msid": True}
        try:
            reply = await self._janus.message(self._session, handle, body | {"streams": wanted})
        except JanusError:
            await self._janus.detach(self._session, handle)
            raise
        self._subscriber = handle
        return reply

    async def answer(self, sdp: str) -> None:
        if self._subscriber is None:
            raise BadDescription("nothing was offered")
        with _explained():
            await self._janus.message(self._session, self._subscriber, {"request": "start"}, Jsep("answer", self._safe(sdp)))

    async def restart(self) -> str:
        if self._subscriber is None:
            raise SfuError("nothing is received that could be restarted")
        with _explained():
            reply = await self._janus.message(self._session, self._subscriber, {"request": "configure", "restart": True})
        if reply.jsep is None:
            raise SfuError("no restart while an offer waits for its answer")
        return self._safe(reply.jsep.sdp)

    async def receive_anew(self) -> None:
        handle, self._subscriber = self._subscriber, None
        self._asked = frozenset()
        self._chosen = {}
        if handle is not None:
            with _explained():
                await self._janus.detach(self._session, handle)

    async def choose(self, layers: Sequence[Layer]) -> None:
        if self._subscriber is None or not layers:
            return
        streams: list[dict[str, Any]] = [
            {"mid": layer.mid, "send": False}
            if layer.substream is None
            else {"mid": layer.mid, "send": True, "substream": layer.substream}
            for layer in layers
        ]
        await self._configure(self._subscriber, streams)
        for layer in layers:
            self._chosen.pop(layer.mid, None)
            if layer.substream is not None:
                self._chosen[layer.mid] = layer.substream
        self._stop_repeating()
        self._repeat_later(self._subscriber, KEYFRAME_REQUESTS)

    def _repeat_later(self, subscriber: int, times: int) -> None:
        if self._chosen and times > 0:
            loop = asyncio.get_running_loop()
            self._repeat = loop.call_later(KEYFRAME_SECONDS, self._choose_again, subscriber, times - 1)

    async def _configure(self, subscriber: int, streams: list[dict[str, Any]]) -> None:
        with _explained():
            await self._janus.message(self._session, subscriber, {"request": "configure", "streams": streams})

    def _choose_again(self, subscriber: int, times: int) -> None:
        """Ask again for layers that have not come: Janus drops a request for a keyframe that comes soon after another."""
        streams = [{"mid": mid, "send": True, "substream": substream} for mid, substream in self._chosen.items()]
        if subscriber == self._subscriber and streams:
            self._repeat_later(subscriber, times)
            self._repeating = asyncio.ensure_future(self._repeat_safely(subscriber, streams))

    async def _repeat_safely(self, subscriber: int, streams: list[dict[str, Any]]) -> None:
        with contextlib.suppress(SfuError):  # what ends the SFU or the session is told in its own way
            await self._configure(subscriber, streams)

    def _stop_repeating(self) -> None:
        if self._repeat is not None:
            self._repeat.cancel()
            self._repeat = None

    # Both

    async def record(self, recording_id: str | None) -> None:
        if self._options.recordings is None:
            raise SfuError("this SFU has no folder for recordings")
        room = {"room": self._room.name, "secret": self._keys.secret}
        with _explained():
            if recording_id is not None:
                # Each recording has a folder of its own. What is open goes on where it is.
                folder = f"{self._options.recordings}/{recording_id}"
                await self._janus.message(self._session, self._publisher, {"request": "edit", "new_rec_dir": folder, **room})
            body = {"request": "enable_recording", "record": recording_id is not None, **room}
            await self._janus.message(self._session, self._publisher, body)

    async def trickle(self, candidate: object, *, publishing: bool) -> None:
        handle = self._publisher if publishing else self._subscriber
        if handle is not None:
            with _explained():
                await self._janus.trickle(self._session, handle, candidate)

    async def leave(self) -> None:
        self.let_go()
        with contextlib.suppress(JanusLost):
            await self._janus.destroy(self._session)

    def let_go(self) -> None:
        self._stop_repeating()
        self._janus.forget(self._session)

    async def _join(self) -> None:
        self._publisher = await self._janus.attach(self._session, self._on_publisher)
        self._connection = Connection.NONE
        body = {
            "request": "join",
            "ptype": "publisher",
            "room": self._room.name,
            "pin": self._keys.pin,
            "id": self._who.session_id,
            "display": self._who.user_id,
        }
        try:
            await self._janus.message(self._session, self._publisher, body)
        except JanusError as refusal:
            if refusal.code == NO_SUCH_ROOM:
                await self._make_room()
            elif refusal.code == ID_TAKEN:
                # A seat of this session that nobody could take over, of a node that is gone.
                kick = {"request": "kick", "room": self._room.name, "secret": self._keys.secret, "id": self._who.session_id}
                await self._janus.message(self._session, self._publisher, kick)
            else:
                raise
            await self._janus.message(self._session, self._publisher, body)

    async def _make_room(self) -> None:
        body = {
            "request": "create",
            "room": self._room.name,
            "admin_key": self._options.admin_key,
            "secret": self._keys.secret,
            "pin": self._keys.pin,
            "is_private": True,
            "permanent": False,
            "publishers": self._room.capacity,
            "bitrate": self._options.bitrate,
            "bitrate_cap": True,
            "audiocodec": "opus",
            "videocodec": VIDEO_CODECS,
            "audiolevel_event": True,
            "audio_active_packets": LOUD_PACKETS,
            "audio_level_average": LOUD_LEVEL,
            "lock_record": True,
            # Browsers turn pictures upright themselves then: in a film nobody else would.
            "videoorient_ext": False,
        }
        try:
            await self._janus.message(self._session, self._publisher, body)
        except JanusError as refusal:
            if refusal.code != ROOM_EXISTS:
                raise

    # What Janus says by itself

    def _on_publisher(self, message: Message) -> None:
        body = message.body
        match message.janus, body.get("videoroom"):
            case "webrtcup", _:
                self._listener.published()
            case "hangup", _:
                self._connection = Connection.OVER
                self._listener.unpublished()
            case "event", "talking" | "stopped-talking" as event if body.get("id") == self._who.session_id:
                self._listener.talking(event == "talking")
            case "detached", _:
                self._listener.lost()

    def _on_subscriber(self, message: Message) -> None:
        mid, substream = message.body.get("mid"), message.body.get("substream")
        if self._chosen.get(str(mid)) == substream:
            self._chosen.pop(str(mid), None)  # it has come
        if message.janus == "hangup":
            self._subscriber, self._asked = None, frozenset()
            self._listener.stopped_receiving()
        elif message.janus == "event":
            self._offer(message)

    def _safe(self, sdp: str) -> str:
        """Without RTX, when this Janus is one that RTX crashes."""
        return without_rtx(sdp) if self._janus.is_old else sdp

    def _offer(self, message: Message) -> None:
        if message.jsep is not None and message.jsep.type == "offer":
            self._listener.offered(self._safe(message.jsep.sdp), streams_of(message.body))


def streams_of(body: Mapping[str, Any]) -> list[Stream]:
    """The sections of a subscriber's description, as Janus lists them; what it says wrongly is left out."""
    found = []
    for one in body.get("streams") or ():
        is_active = bool(one.get("active"))
        if is_active and one.get("feed_description") not in set(Source):
            continue
        found.append(
            Stream(
                mid=str(one.get("mid", "")),
                session_id=str(one.get("feed_id", "")) if is_active else "",
                user_id=str(one.get("feed_display", "")) if is_active else "",
                source=Source(one["feed_description"])
                if is_active
                else Source.CAMERA
                if one.get("type") == "video"
                else Source.MICROPHONE,
                active=is_active,
            )
        )
    return found


def _order(feed: Feed) -> tuple[str, str]:
    return feed.session_id, feed.mid


@contextlib.contextmanager
def _explained() -> Any:
    """What goes wrong with Janus, in the words of `media`."""
    try:
        yield
    except JanusLost as lost:
        raise SfuLost(str(lost)) from None
    except JanusError as refusal:
        if refusal.code in (NO_SUCH_SESSION, NO_SUCH_HANDLE):
            raise SfuLost(str(refusal)) from None
        raise (BadDescription if refusal.code in BAD_SDP else SfuError)(str(refusal)) from None
