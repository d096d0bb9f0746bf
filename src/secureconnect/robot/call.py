"""One robot in one call: its signaling session, and a peer for every other session there.

Run by `echo`, `headless` and `live`. It says who connects to whom (docs/protocol.md, "Who offers"); how two connect is `peer`'s
business, whether to join or leave is the caller's.
"""

from collections.abc import Callable
from uuid import uuid4

import structlog

from secureconnect.clock import Clock
from secureconnect.ids import CallId, SessionId, UserId, short
from secureconnect.robot.client import Client
from secureconnect.robot.peer import Peer, PeerSetting
from secureconnect.robot.snapshot import Snapshot
from secureconnect.robot.sockets import SignalingSocket
from secureconnect.robot.sources import Source
from secureconnect.robot.wire import CallChanged, Description, IceCandidate, IceServer, Leave, Signal, Welcome

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
        self._socket = SignalingSocket(client, call_id, clock=clock, random=random)
        self._source = source
        self._clock = clock
        self._random = random
        self._connection_id = connection_id
        self._leave_when_alone = leave_when_alone
        self._ice_servers: list[IceServer] = []

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
            await self._let_go(*self.peers)
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
            case Description(type="offer", session_id=session):
                self._peer(session).receive(signal)
            case Description(session_id=session) | IceCandidate(session_id=session) if session in self.peers:
                self.peers[session].receive(signal)
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
        if welcome.call is not None:
            for session in welcome.call.session_ids:
                if session != welcome.session_id:
                    self._peer(session).offer()

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
            peer = self.peers.pop(session, None)
            if peer is not None:
                await peer.close()
