"""One robot in one call: its signaling session, and a peer for every other session there, or a link to the SFU.

Run by `echo`, `headless` and `live`. It says who connects to whom (docs/protocol.md, "Who offers"), and which way media goes; how
two connect is `peer`'s business, how the SFU is met is `forwarded`'s, whether to join or leave is the caller's.
"""

import asyncio
import contextlib
from collections.abc import Callable
from uuid import uuid4

import structlog

from secureconnect.clock import Clock
from secureconnect.ids import CallId, SessionId, UserId, short
from secureconnect.robot.client import Client
from secureconnect.robot.forwarded import Forwarded, SfuLink
from secureconnect.robot.peer import Peer, PeerSetting
from secureconnect.robot.snapshot import Snapshot
from secureconnect.robot.sockets import SignalingSocket
from secureconnect.robot.sources import Source
from secureconnect.robot.switching import Switching
from secureconnect.robot.wire import (
    Authenticated,
    CallChanged,
    Description,
    IceCandidate,
    IceServer,
    Leave,
    Refused,
    SfuDescription,
    Signal,
    Switched,
    TopologyChanged,
    Welcome,
)

LOOK_SECONDS = 0.05
"""How often two ways that are both open are looked at."""

log = structlog.get_logger(__name__)


class CallSession:
    """A session in the call `call_id`, which the client has initiated or joined. `random` gives floats in [0, 1)."""

    def __init__(
        self,
        client: Client,
        call_id: CallId,
        source: Source,
        *,
        clock: Clock,
        random: Callable[[], float],
        connection_id: Callable[[], str] = lambda: str(uuid4()),
        leave_when_alone: bool = False,
    ) -> None:
        self.call_id = call_id
        self.user_id: UserId | None = None
        self.peers: dict[SessionId, Peer] = {}
        self.link: SfuLink | None = None
        self._socket = SignalingSocket(client, call_id, clock=clock, random=random)
        self._source = source
        self._clock = clock
        self._random = random
        self._connection_id = connection_id
        self._leave_when_alone = leave_when_alone
        self._ice_servers: list[IceServer] = []
        self._topology, self._epoch = "p2p", -1
        self._switching: Switching | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def others(self) -> list[Peer | Forwarded]:
        """Everybody that something may come from now: while the way changes, a session is here twice."""
        return [*self.peers.values(), *(self.link.others.values() if self.link is not None else ())]

    @property
    def snapshot(self) -> Snapshot | None:
        """The call as last seen; None before the first frame."""
        return self._socket.snapshot

    @property
    def seq(self) -> int | None:
        """The number of the call's last event seen here."""
        return self._socket.seq

    @property
    def session_id(self) -> SessionId | None:
        return self._socket.session_id

    def alone(self) -> bool:
        """Whether nobody else is in the call, on the way back to it, or still rung."""
        if self.snapshot is None:
            return False
        others = (person for person in self.snapshot.call.participants if person.user_id != self.user_id)
        return not any(person.state in {"joined", "reconnecting", "ringing"} for person in others)

    async def run(self) -> None:
        """Take part until the call is over, or left. Raises ProblemError when the server refuses the session."""
        try:
            async for signal in self._socket:
                await self._take(signal)
                if self.snapshot is not None and not self.snapshot.call.live:
                    return
                if self._leave_when_alone and self.alone():
                    await self.leave()
                    return
        finally:
            await self._stop_switching()
            await self._let_go(*self.peers)
            await self._unlink()
            await self._socket.close()

    async def leave(self) -> None:
        """Leave the call with this session; `run` then returns."""
        await self._socket.leave()

    async def say(self, type: str, **fields: object) -> None:
        """Send a frame to everybody: `mute_audio`, `reaction`, `quality`, …"""
        await self._socket.send(type, **fields)

    async def _take(self, signal: Signal) -> None:
        match signal:
            case Welcome(resumed=False):
                await self._begin(signal)
            case Welcome(ice_servers=servers) | Authenticated(ice_servers=[*servers]):
                self._ice_servers = servers
            case Description(type="offer", session_id=session):
                self._peer(session).receive(signal)
            case Description(session_id=session) | IceCandidate(session_id=session) if session in self.peers:
                self.peers[session].receive(signal)
            case SfuDescription() if self.link is not None:
                self.link.receive(signal)
            case Refused(code=code) if self.link is not None:
                self.link.refused(code)
            case Switched(session_id=session, epoch=epoch) if self._switching is not None:
                self._switching.heard(session, epoch)
            case TopologyChanged(topology=topology, epoch=epoch):
                await self._change_way(topology, epoch)
            case Leave(session_id=session):
                await self._let_go(session)
            case CallChanged() if self.snapshot is not None:
                await self._let_go(*self.peers.keys() - set(self.snapshot.call.session_ids))

    async def _begin(self, welcome: Welcome) -> None:
        """A new session knows nobody: it offers to every session present, and those wait for its offer."""
        await self._let_go(*self.peers)
        self.user_id = welcome.user_id
        self._ice_servers = welcome.ice_servers
        log.debug("in call", call=short(self.call_id), session=short(welcome.session_id))
        await self._stop_switching()
        await self._unlink()
        self._topology, self._epoch = welcome.topology, welcome.epoch
        if welcome.topology == "sfu":
            self.link = SfuLink(self._setting(), welcome.epoch)
        elif welcome.call is not None:
            for session in welcome.call.session_ids:
                if session != welcome.session_id:
                    self._peer(session).offer()

    # Which way media goes

    async def _change_way(self, topology: str, epoch: int) -> None:
        """Open the new way; the old one stays until the new one carries."""
        if epoch <= self._epoch:
            return
        was, self._topology, self._epoch = self._topology, topology, epoch
        if topology != "sfu" and was != "sfu":
            return  # the same connections, between two or among more
        await self._stop_switching()
        if topology == "sfu":
            await self._unlink()
            self.link = SfuLink(self._setting(), epoch)
            others = set(self.peers)
        else:
            others = self._present()
            for session in others:
                if self.session_id is not None and session < self.session_id:
                    self._peer(session).offer()
        self._switching = Switching(epoch, others, self._clock.monotonic())
        self._watching = asyncio.create_task(self._watch(self._switching))

    def _present(self) -> set[SessionId]:
        return set(self.snapshot.call.session_ids) - {self.session_id} if self.snapshot is not None else set()

    async def _watch(self, switching: Switching) -> None:
        """Look at the new way until the old one may go."""
        is_video = self.snapshot is None or self.snapshot.call.call_type == "video"
        while not switching.is_over:
            for one in self._new_way():
                if switching.carries(one.remote, frames=one.video.frames, seconds=one.audio.seconds, video=is_video):
                    await self._socket.send("switched", target_id=one.remote, epoch=switching.epoch)
            done = switching.done(self._clock.monotonic(), self._present())
            if self._topology == "sfu":
                await self._let_go(*done)
            await self._clock.sleep(LOOK_SECONDS)
        if self._topology != "sfu":
            await self._unlink()

    def _new_way(self) -> list[Peer | Forwarded]:
        if self._topology != "sfu":
            return list(self.peers.values())
        return list(self.link.others.values()) if self.link is not None else []

    async def _stop_switching(self) -> None:
        watching, self._watching, self._switching = self._watching, None, None
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _unlink(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            await link.close()

    def _peer(self, session: SessionId) -> Peer:
        peer = self.peers.get(session)
        if peer is None:
            peer = self.peers[session] = Peer(session, self._setting())
        return peer

    def _setting(self) -> PeerSetting:
        assert self.session_id is not None
        assert self.snapshot is not None
        return PeerSetting(
            own=self.session_id,
            call_type=self.snapshot.call.call_type,
            source=self._source,
            ice_servers=self._ice_servers,
            send=self._socket.send,
            connection_id=self._connection_id,
            random=self._random,
            clock=self._clock,
        )

    async def _let_go(self, *sessions: SessionId) -> None:
        for session in sessions:
            if self.link is not None and self.snapshot is not None and session not in self.snapshot.call.session_ids:
                self.link.forget(session)
            peer = self.peers.pop(session, None)
            if peer is not None:
                await peer.close()
