"""Every Janus there is: which live, how full they are, which are being emptied; places for calls, seats for sessions. The `Sfu`.

Made by parts with the servers of the settings, or with the one that this process runs itself; `run` is one of its loops. Each node
keeps one connection to each Janus, and knows within milliseconds when one dies: its socket closes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import structlog

from secureconnect.clock import Clock
from secureconnect.media import Feed, Handles, Listener, Member, Room, Seat, SfuLost
from secureconnect.media.janus import Janus, JanusError, JanusLost, open_janus
from secureconnect.media.videoroom import RoomKeys, RoomOptions, VideoRoomSeat
from secureconnect.ops.loops import keep_running

AGAIN_SECONDS = (0.05, 0.5)
"""How long before one that does not answer is tried again: first, and at most; each wait is twice the one before."""
LOOK_SECONDS = 5.0
"""How often each is asked how full it is."""
PLACED_WEIGHT = 3
"""People that a call is taken for that was placed since the last look."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SfuServer:
    """One Janus of the settings: where its API answers, its secret, how much of the load it takes, where it stands.

    `draining`: it takes no calls, and those that it has are taken elsewhere. `recordings`: where it writes recordings, as it
    calls that folder.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    url: str
    secret: str = field(repr=False)
    weight: float = 1.0
    region: str | None = None
    draining: bool = False
    recordings: str | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("ws://", "wss://", "unix:/")):
            raise ValueError(
                f"url must be ws://, wss:// or unix:/, as ws://10.0.0.5:8188 or unix:/run/janus.sock, not {self.url!r}"
            )
        if not 0 < len(self.name) <= 64:
            raise ValueError("name must have 1 to 64 characters")
        if self.weight <= 0:
            raise ValueError("weight must be more than 0")


class _Node:
    """One Janus as this process sees it."""

    def __init__(self, server: SfuServer) -> None:
        self.server = server
        self.janus: Janus | None = None
        self.session = self.handle = 0  # ours, to look at rooms and to close them
        self.people = 0
        self.rooms = 0
        self.placed = 0
        self.trouble = "not tried yet"
        self.tried = asyncio.Event()
        self.empty: set[str] = set()

    @property
    def is_open(self) -> bool:
        return self.janus is not None and not self.server.draining

    @property
    def load(self) -> float:
        return (self.people + PLACED_WEIGHT * self.placed) / self.server.weight


class JanusPool:
    """All of them. `bitrate` is the most a publisher may send, bits a second.

    `key_of` gives what the keys of a room follow from, by the name of the room.
    """

    def __init__(
        self,
        servers: Sequence[SfuServer],
        clock: Clock,
        *,
        key_of: Callable[[str], bytes],
        bitrate: int,
        region: str | None = None,
        allow_version: str | None = None,
    ) -> None:
        self._nodes = {server.name: _Node(server) for server in servers}
        self._clock = clock
        self._key_of = key_of
        self._bitrate = bitrate
        self._region = region
        self._allow = allow_version
        self._watchers: list[Callable[[str], None]] = []

    @property
    def size(self) -> int:
        """How many there are, alive or not."""
        return len(self._nodes)

    @property
    def usable(self) -> int:
        """How many can take a call."""
        return sum(node.is_open for node in self._nodes.values())

    @property
    def rooms(self) -> int:
        """Rooms at all of them, this node's or another's, at the last look."""
        return sum(node.rooms for node in self._nodes.values())

    @property
    def people(self) -> int:
        """Sessions at all of them at the last look."""
        return sum(node.people for node in self._nodes.values())

    # The protocol

    def place(self) -> str | None:
        usable = [node for node in self._nodes.values() if node.is_open]
        near = [node for node in usable if self._region is None or node.server.region in {None, self._region}]
        best = min(near or usable, key=lambda node: node.load, default=None)
        return best.server.name if best else None

    def is_usable(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and node.is_open

    def trouble_of(self, name: str) -> str:
        """Why one cannot be used; empty while it can."""
        return self._nodes[name].trouble

    def is_draining(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and node.janus is not None and node.server.draining

    def watch(self, on_change: Callable[[str], None]) -> None:
        self._watchers.append(on_change)

    async def open(self, room: Room, who: Member, listener: Listener) -> Seat:
        seat = VideoRoomSeat(await self._janus(room), room, who, self._options(room), listener=listener)
        try:
            await seat.open()
        except BaseException:
            await asyncio.shield(seat.leave())
            raise
        return seat

    async def claim(self, room: Room, who: Member, handles: Handles, receiving: frozenset[Feed], listener: Listener) -> Seat:
        seat = VideoRoomSeat(await self._janus(room), room, who, self._options(room), listener=listener)
        await seat.claim(handles, receiving)
        return seat

    async def ping(self) -> None:
        """Raises SfuLost naming those that do not answer, when none does that could take a call."""
        if self.place() is None:
            raise SfuLost("; ".join(f"{name}: {node.trouble}" for name, node in self._nodes.items()) or "there is none")

    # Keeping them

    async def run(self) -> None:
        """Until cancelled: stay connected to each, look how full they are."""
        async with asyncio.TaskGroup() as tasks:
            for node in self._nodes.values():
                tasks.create_task(keep_running("sfu_connection", partial(self._keep, node)))
            tasks.create_task(keep_running("sfu_load", self._look_around))

    async def _keep(self, node: _Node) -> None:
        first, longest = AGAIN_SECONDS
        wait = first
        while True:
            try:
                janus = await open_janus(node.server.url, node.server.secret, self._clock, allow=self._allow)
            except (JanusLost, JanusError) as failure:
                if node.trouble != str(failure):
                    log.warning("SFU does not answer", sfu=node.server.name, reason=str(failure))
                node.trouble = str(failure)
                node.tried.set()
                await self._clock.sleep(wait)
                wait = min(2 * wait, longest)
                continue
            wait = first
            try:
                await self._stay(node, janus)
            finally:
                await janus.close()

    async def _stay(self, node: _Node, janus: Janus) -> None:
        try:
            node.session = await janus.create(lambda: None)
            node.handle = await janus.attach(node.session, lambda message: None)
            node.janus, node.trouble = janus, ""
            await self._look(node)
            node.tried.set()
            log.info("SFU answers", sfu=node.server.name)
            self._tell(node)
            await janus.lost.wait()
            node.trouble = "the connection is gone"
        except (JanusLost, JanusError) as failure:
            node.trouble = str(failure)
        finally:
            node.janus, node.people, node.rooms, node.placed = None, 0, 0, 0
        log.warning("SFU is gone", sfu=node.server.name, reason=node.trouble)
        self._tell(node)

    async def _look_around(self) -> None:
        while True:
            for node in self._nodes.values():
                # One that is lost meanwhile is noticed where its connection is kept.
                with contextlib.suppress(JanusLost, JanusError):
                    await self._look(node)
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self, node: _Node) -> None:
        """How many are there. A room that nobody closed, because its node died, goes at the second look that finds it empty."""
        if node.janus is None:
            return
        reply = await node.janus.message(node.session, node.handle, {"request": "list", "admin_key": node.server.secret})
        rooms = {str(one["room"]): int(one["num_participants"]) for one in reply.body.get("list", [])}
        node.people, node.rooms, node.placed = sum(rooms.values()), len(rooms), 0
        empty = {name for name, people in rooms.items() if not people}
        for name in empty & node.empty:
            await self._destroy(node, name)
        node.empty = empty

    async def _destroy(self, node: _Node, name: str) -> None:
        secret = RoomKeys.of(name, self._key_of(name)).secret
        if node.janus is not None:
            # One that another node has closed, or that went with its Janus, is closed.
            with contextlib.suppress(JanusLost, JanusError):
                await node.janus.message(node.session, node.handle, {"request": "destroy", "room": name, "secret": secret})

    def placed(self, name: str) -> None:
        """A call has been given a place there: until the next look it counts."""
        if name in self._nodes:
            self._nodes[name].placed += 1

    def _tell(self, node: _Node) -> None:
        for watcher in self._watchers:
            watcher(node.server.name)

    async def _janus(self, room: Room) -> Janus:
        """The connection to the SFU of the room. Who asks just after the start waits until it has been tried."""
        node = self._nodes.get(room.sfu)
        if node is not None:
            await node.tried.wait()
        if node is None or node.janus is None:
            raise SfuLost(f"{room.sfu} does not answer")
        return node.janus

    def _options(self, room: Room) -> RoomOptions:
        server = self._nodes[room.sfu].server
        key = self._key_of(room.name)
        return RoomOptions(admin_key=server.secret, key=key, bitrate=self._bitrate, recordings=server.recordings)
