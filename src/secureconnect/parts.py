"""The only wiring: everything that exists in a process, in the order it is made. Read top to bottom.

Nothing here decides anything about calls, people or sockets; it hands each part what it needs. app.py starts and stops them.
"""

import asyncio
import os
from collections.abc import Awaitable
from datetime import timedelta
from importlib.metadata import version
from uuid import uuid4

import httpx2
import structlog
from litestar import Litestar

from secureconnect.account_services import AccountServices
from secureconnect.accounts.blocks import Blocks
from secureconnect.accounts.devices import DeviceService
from secureconnect.accounts.grant import Grant
from secureconnect.accounts.sign_in_limits import SignInLimits
from secureconnect.api.http import Services, create_api
from secureconnect.api.problems import plain_answer
from secureconnect.bus import open_bus
from secureconnect.calls.quality_log import QualityLog
from secureconnect.calls.receipt_book import ReceiptBook
from secureconnect.calls.ring_limits import RingLimits
from secureconnect.calls.service import CallService
from secureconnect.calls.silence import Silence
from secureconnect.calls.timers import Timers
from secureconnect.calls.traces import CallTraces
from secureconnect.chat.addition_limits import AdditionLimits
from secureconnect.chat.fan_out import FanOut
from secureconnect.chat.service import ChatService
from secureconnect.clock import CorrectedClock, SystemClock, unix_microseconds
from secureconnect.config import Settings
from secureconnect.data_dir import shared_secret, vapid_key
from secureconnect.errors import ServiceError
from secureconnect.ids import ConversationId, DeviceId, IdFactory, NodeId, UserId
from secureconnect.instruments import (
    CallCounter,
    count_push,
    show_bus,
    show_database,
    show_everything_shared,
    show_limits,
    show_loops,
    show_process,
    show_sockets,
    show_timers,
)
from secureconnect.keys import InternalKeys
from secureconnect.limiter import make_limiter
from secureconnect.media_servers import ice_servers, own_turn, turn_probe
from secureconnect.ops.health import Health
from secureconnect.ops.logging import request_id
from secureconnect.ops.metrics import Metrics
from secureconnect.ops.ratelimit import Use
from secureconnect.ops.timekeeping import Timekeeper
from secureconnect.place import place_under
from secureconnect.push.outbox import Outbox
from secureconnect.push.queue import PushQueue
from secureconnect.recorder import Recorder
from secureconnect.recording.book import RecordingBook
from secureconnect.recording.desk import FilmDesk
from secureconnect.recording.service import Recordings
from secureconnect.senders import make_senders, make_webhook_sender
from secureconnect.sfu_servers import SfuServers
from secureconnect.signaling.call_socket import CallSockets
from secureconnect.signaling.inbox import InboxSockets
from secureconnect.signaling.lifetime import Lifetimes
from secureconnect.signaling.outgoing import Outgoing
from secureconnect.signaling.protocol import Limits
from secureconnect.signaling.relay_timer import RelayTimer
from secureconnect.signaling.session import ResumeTokens
from secureconnect.signaling.socket import Sockets
from secureconnect.signaling.upgrade import Gate
from secureconnect.store import open_database, probes
from secureconnect.webhooks.delivery import Webhooks

log = structlog.get_logger(__name__)

VERSION = version("secureconnect")


class Parts:
    """One process: what it is made of."""

    def __init__(self, settings: Settings, *, demo: bool = False) -> None:
        self.settings, self.place = settings, place_under(settings)
        self.clock = CorrectedClock(SystemClock())
        self.node_id = NodeId(uuid4())
        self.ids = IdFactory(lambda: unix_microseconds(self.clock.now()) // 1000, os.urandom)
        self.metrics = Metrics()

        # What lasts, and what connects nodes
        secret = shared_secret(settings)
        self.keys = InternalKeys(secret)
        self.database = open_database(settings.database)
        self.timekeeper = Timekeeper(self.clock, lambda: self.database.read(probes.clock))
        self.bus = open_bus(settings.bus_url, self.clock, str(self.node_id), settings.log_mib * 1024 * 1024)
        self.http = httpx2.AsyncClient(timeout=5.0)

        self.vapid = vapid_key(settings)
        self.senders = make_senders(settings, self.clock, self.vapid)
        self.outbox = self._make_outbox()
        self.recorder = Recorder(settings)
        self.sfu = SfuServers(settings, self.keys, self.clock, self.recorder.folder)

        # What people can do
        services = self._make_account_services(secret, demo=demo)
        self.revocations, self.accounts = services.revocations, services.accounts
        self.passwords, self.administration = services.passwords, services.administration
        self.ring_tokens, self.application_tokens = services.ring_tokens, services.application_tokens
        self.devices = self._make_devices()
        self.chat = self._make_chat()
        self.receipts = ReceiptBook(database=self.database, bus=self.bus, clock=self.clock)
        self.traces = CallTraces(self.database)
        self.webhooks = self._make_webhooks()
        self.films = self._make_films()
        self.calls = self._make_calls()
        self.recordings, self.silence = self._make_recordings(), Silence(self.calls, self.bus, self.clock)
        self.quality = self._make_quality()
        self.timers = self._make_timers()

        # How they reach it
        self.turn = own_turn(settings, self.keys, self.clock)
        self.ice = ice_servers(settings, self.clock, self.turn)
        self.lifetimes, self.health = self._make_lifetimes(), self._make_health()
        self.at_sfu = self.sfu.seats(self.calls, self.bus, self.metrics, node=str(self.node_id))
        self.call_sockets = self._make_call_sockets(ResumeTokens(self.keys))
        self.sockets = self._make_sockets()
        self.limiter = make_limiter(settings, self.clock, self.metrics)
        self._show_metrics()
        self.api = self._make_api()
        self._background: set[asyncio.Task[None]] = set()

    def _make_account_services(self, secret: str, *, demo: bool) -> AccountServices:
        return AccountServices(
            self.settings,
            secret,
            self.keys,
            demo=demo,
            database=self.database,
            bus=self.bus,
            ids=self.ids,
            clock=self.clock,
            http=self.http,
        )

    def _make_devices(self) -> DeviceService:
        return DeviceService(
            self.database,
            self.clock,
            self.senders.keys(),
            bus=self.bus,
            revocations=self.revocations,
            on_revoked=self._on_device_revoked,
            webpush_hosts=self.settings.webpush_hosts,
            webpush_key=self.vapid.public_key if self.vapid is not None else None,
        )

    def _make_outbox(self) -> Outbox:
        return Outbox(
            database=self.database,
            clock=self.clock,
            node_id=self.node_id,
            senders=self.senders,
            on_outcome=count_push(self.metrics, self.clock),
        )

    def _make_timers(self) -> Timers:
        return Timers(
            service=self.calls,
            database=self.database,
            clock=self.clock,
            node_id=self.node_id,
            on_lapse=lambda: self._spawn(self.call_sockets.keep_sessions()),
            on_fired=self.metrics.timer_lateness.observe,
        )

    def _make_chat(self) -> ChatService:
        return ChatService(
            database=self.database,
            bus=self.bus,
            ids=self.ids,
            clock=self.clock,
            on_member_removed=self._on_member_removed,
            conversations_per_user=self.settings.conversations_per_user,
            fan_out=FanOut(
                self.clock,
                enabled=self.settings.rate_limits == "on",
                on_refusal=lambda: self.metrics.rate_limited.labels("fan_out").inc(),
            ),
            history=self.settings.new_member_history,
        )

    def _make_calls(self) -> CallService:
        return CallService(
            database=self.database,
            bus=self.bus,
            ids=self.ids,
            clock=self.clock,
            node_id=self.node_id,
            grace=timedelta(seconds=self.settings.grace_seconds),
            pushes=PushQueue(ids=self.ids, ring_tokens=self.ring_tokens, wake=self.outbox.wake),
            receipts=self.receipts,
            webhooks=self.webhooks,
            recordings=RecordingBook(timedelta(days=self.settings.recording_days)),
            sfu=self.sfu.pool,
            sfu_capacity=self.settings.sfu_capacity,
            calls_per_user=self.settings.calls_per_user,
            on_change=CallCounter(self.metrics),
        )

    def _make_films(self) -> FilmDesk | None:
        if self.recorder.objects is None:
            return None
        return FilmDesk(
            database=self.database,
            bus=self.bus,
            clock=self.clock,
            node_id=self.node_id,
            folder=self.recorder.written,
            scratch=self.recorder.scratch,
            objects=self.recorder.objects,
            on_outcome=lambda outcome: self.metrics.recordings.labels(outcome).inc(),
            webhooks=self.webhooks,
        )

    def _make_recordings(self) -> Recordings:
        return Recordings(
            calls=self.calls,
            database=self.database,
            ids=self.ids,
            clock=self.clock,
            objects=self.recorder.objects,
            keys=self.keys,
            link_life=timedelta(seconds=self.settings.recording_link_seconds),
            trouble=self.recorder.trouble,
            limits=self.recorder.limits,
            volume=self.recorder.volume,
        )

    def _make_webhooks(self) -> Webhooks | None:
        sender = make_webhook_sender(self.settings, self.clock, VERSION)
        if sender is None:
            return None
        return Webhooks(
            database=self.database,
            ids=self.ids,
            clock=self.clock,
            node_id=self.node_id,
            sender=sender,
            on_outcome=lambda outcome: self.metrics.webhooks.labels(outcome).inc(),
        )

    def _make_quality(self) -> QualityLog:
        return QualityLog(
            database=self.database,
            ids=self.ids,
            clock=self.clock,
            on_report=lambda report, mos: self.metrics.note_report(report.rtt_ms, report.loss, mos),
        )

    def _make_lifetimes(self) -> Lifetimes:
        authenticate, unix_time = self.accounts.authenticate, self.clock.unix_time
        return Lifetimes(revocations=self.revocations, authenticate=authenticate, unix_time=unix_time, spawn=self._spawn)

    def _make_call_sockets(self, tokens: ResumeTokens) -> CallSockets:
        return CallSockets(
            calls=self.calls,
            bus=self.bus,
            clock=self.clock,
            unix_time=self.clock.unix_time,
            tokens=tokens,
            timer=RelayTimer(self.clock.monotonic, self.metrics.relay_seconds.observe),
            ice_servers=lambda grant: self.ice.servers_for(grant.user_id, grant.expires_at),
            limits=Limits(grace_seconds=self.settings.grace_seconds),
            limited=self.settings.rate_limits == "on",
            lifetimes=self.lifetimes,
            revocations=self.revocations,
            on_report=lambda seat, report: self.quality.take(seat.call_id, seat.user_id, seat.session.session_id, report),
            at_sfu=self.at_sfu,
            spawn=self._spawn,
        )

    def _make_sockets(self) -> Sockets:
        settings = self.settings
        inboxes = InboxSockets(
            bus=self.bus,
            clock=self.clock,
            ringing_for=self.calls.ringing_for,
            receipts=self.receipts,
            limited=settings.rate_limits == "on",
            lifetimes=self.lifetimes,
            on_ring=self.metrics.ring_seconds.labels("socket").observe,
        )
        endpoints = {"video": {"/v1/calls/ws/signaling": self.call_sockets.admit}, "chat": {"/v1/ws/events": inboxes.admit}}
        return Sockets(
            gate=Gate(
                endpoints={path: admit for name in settings.served for path, admit in endpoints.get(name, {}).items()},
                authenticate=self._admit,
                origins=self.place.origins,
                proxies=self.place.proxies,
            ),
            problem_of=self._refusal,
            monotonic=self.clock.monotonic,
            max_sockets=settings.max_sockets,
            ping_seconds=settings.ping_seconds,
            outgoing=Outgoing(sockets_per_user=settings.sockets_per_user, total=settings.send_buffer_mib * 1024 * 1024),
            lifetimes=self.lifetimes,
        )

    def _make_health(self) -> Health:
        turn = turn_probe(self.settings, self.turn)
        return Health(
            service=self.settings.service,
            version=VERSION,
            clock=self.clock,
            probes={"database": self.database.ping, "bus": self.bus.ping},
            beside={
                "push": self.outbox.ping,
                **self.sfu.probes,
                **({"turn": turn} if turn is not None else {}),
                **self.recorder.probes,
            },
        )

    def _show_metrics(self) -> None:
        metrics, clock = self.metrics, self.clock
        show_process(metrics, version=VERSION, service=self.settings.service, health=self.health)
        show_sockets(metrics, self.sockets, self.call_sockets, max_sockets=self.settings.max_sockets)
        show_loops(metrics)
        show_bus(metrics, self.bus)
        show_database(metrics, self.database)
        show_limits(metrics, self.limiter)
        show_timers(metrics, self.timers, clock)
        show_everything_shared(metrics, self.database, clock)

    def _make_sign_in_limits(self) -> SignInLimits:
        key = self.keys.sign_in_networks
        return SignInLimits(database=self.database, limiter=self.limiter, clock=self.clock, key=key)

    def _make_api(self) -> Litestar:
        services = Services(
            accounts=self.accounts,
            passwords=self.passwords,
            administration=self.administration,
            ring_tokens=self.ring_tokens,
            blocks=Blocks(database=self.database, clock=self.clock),
            devices=self.devices,
            chat=self.chat,
            calls=self.calls,
            quality=self.quality,
            receipts=self.receipts,
            silence=self.silence,
            traces=self.traces,
            recordings=self.recordings,
            webhooks=self.webhooks,
            application_tokens=self.application_tokens,
            ice=self.ice,
            limiter=self.limiter,
            sign_in_limits=self._make_sign_in_limits(),
            ring_limits=RingLimits(database=self.database, limiter=self.limiter, capacity=self.calls.capacity),
            addition_limits=AdditionLimits(database=self.database, limiter=self.limiter),
            health_of=self.health,
            metrics_of=self.metrics,
        )
        return create_api(services, served=self.settings.served, version=VERSION, place=self.place)

    # What must go up, handed down

    async def _on_member_removed(self, conversation_id: ConversationId, user_id: UserId) -> None:
        await self.calls.member_removed(conversation_id, user_id)

    async def _on_device_revoked(self, user_id: UserId, device_id: DeviceId) -> None:
        await self.calls.device_revoked(user_id, device_id)

    async def _admit(self, token: str) -> Grant:
        grant = await self.lifetimes.authenticate(token)
        self.limiter.hit_here([Use("socket", str(grant.user_id))])
        return grant

    def _refusal(self, error: ServiceError) -> tuple[dict[str, str], bytes]:
        self.metrics.refusals.labels(error.code).inc()
        log.info("socket refused", code=error.code)
        return plain_answer(error, request_id())

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
