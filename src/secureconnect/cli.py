"""The commands. Nothing else reads arguments; each makes settings, calls one function and turns its end into an exit status."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import structlog
from cyclopts import App, Parameter
from msgspec import json
from rich.console import Console
from rich.text import Text

from secureconnect.accounts.application_tokens import ApplicationTokens
from secureconnect.app import Application
from secureconnect.calls.traces import CallTraces
from secureconnect.clock import SystemClock
from secureconnect.command_line import ConfigFile, DataDir, Json, ask_database, console, read_settings, run
from secureconnect.config import ConfigurationError, Settings, load_settings
from secureconnect.data_dir import UMASK, restrict, shared_secret
from secureconnect.errors import ServiceError
from secureconnect.ids import CallId
from secureconnect.installer.commands import sfu
from secureconnect.ops.logging import set_up_logging
from secureconnect.parts import VERSION
from secureconnect.server import Server, allow_open_files, listen, listen_for_metrics
from secureconnect.store.schema import migrate as migrate_schema
from secureconnect.store.webhooks import events_after, send_again
from secureconnect.terminal import escape_json, foreign
from secureconnect.user_commands import users

if TYPE_CHECKING:
    from secureconnect.load.report import Report

T = TypeVar("T")
app = App(name="secureconnect", version=VERSION, help="Calls for any chat application, self-hosted.")
bench = App(name="bench", help="Load, with progress while it runs and a table at the end.")
app.command(bench)
webhooks = App(name="webhooks", help="What an outside application is told of calls.")
app.command(webhooks)
app.command(sfu)
app.command(users)
_progress = Console(stderr=True)
log = structlog.get_logger(__name__)

Host = Annotated[str | None, Parameter(help="Address to listen on.")]
Port = Annotated[int | None, Parameter(help="Port to listen on; 0 takes a free one.")]
ServiceNames = Annotated[
    str | None, Parameter(help="What to serve: some of auth,chat,video. With one alone: port 8080, 8082, 8083.")
]


def main() -> None:
    """The entry point of the program."""
    os.umask(UMASK)
    try:
        app()
    except ConfigurationError as failure:
        _complain(str(failure))
        sys.exit(2)
    except ServiceError as failure:
        _complain(failure.detail)
        sys.exit(1)


@app.command
def serve(
    *, config: ConfigFile = None, host: Host = None, port: Port = None, data_dir: DataDir = None, services: ServiceNames = None
) -> None:
    """REST, sockets and the web client, in one process; or a part of it beside other processes."""
    settings = read_settings(config, host=host, port=port, data_dir=data_dir, services=services)
    run(_serve(settings))


@app.command
def demo(
    *,
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    headless: Annotated[bool, Parameter(help="Two robots instead of two people; exit status 0 when both heard and saw.")] = False,
) -> None:
    """The server with two people, a conversation and a robot that answers calls."""
    from secureconnect.robot import commands  # noqa: PLC0415  (the media stack is loaded where it is used)

    settings = read_settings(config, host=host, port=port, data_dir=data_dir, log_level="warning")

    async def people(base_url: str) -> int:
        await commands.run_demo_people(base_url, settings.data_dir, console)
        return 0

    async def robots(base_url: str) -> int:
        return await commands.run_headless(base_url, settings.data_dir, console)

    sys.exit(run(_serve(settings, robots if headless else people, demo=True)))


@app.command
def call(
    conversation: UUID,
    *,
    token: Annotated[str, Parameter(env_var="SECURECONNECT_TOKEN", help="Access token of the user to join as.")],
    url: Annotated[str, Parameter(help="The server.")] = "http://localhost:9090",
    file: Annotated[Path | None, Parameter(help="Play this file instead of the test pattern.")] = None,
    seconds: Annotated[float | None, Parameter(help="Leave after so many seconds.")] = None,
) -> None:
    """Join the conversation's call as a headless peer, or start one: a file or a test pattern in, statistics out."""
    from secureconnect.robot import commands  # noqa: PLC0415

    set_up_logging("warning", "auto")
    sys.exit(run(commands.run_call(url, token, conversation, file=file, seconds=seconds, console=console)))


@app.command
def migrate(*, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Create or upgrade the database schema."""
    settings = read_settings(config, data_dir=data_dir)

    console.print(f"The schema is at {ask_database(settings, migrate_schema, may_begin=True)}.")


@app.command
def token(user: str, *, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Print an access token for a user, named by email or id."""
    settings = read_settings(config, data_dir=data_dir, log_level="error")

    async def work() -> str:
        application = Application(settings)
        try:
            return await application.accounts.mint(_user(user))
        finally:
            await application.stop()

    sys.stdout.write(run(work()) + "\n")


@app.command
def trace(call_id: UUID, *, config: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print what became of a call's rings, person by person and device by device: why did a phone not ring?"""
    from secureconnect.calls.trace_table import as_table  # noqa: PLC0415  (tables are loaded where they are shown)

    settings = read_settings(config, data_dir=data_dir, log_level="error")

    found = ask_database(settings, lambda database: CallTraces(database).trace(CallId(call_id)))
    if as_json:
        sys.stdout.write(escape_json(json.format(json.encode(found), indent=2).decode()) + "\n")
    else:
        console.print(as_table(found))


@app.command
def doctor(
    *,
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    services: ServiceNames = None,
    as_json: Json = False,
) -> None:
    """Check every dependency as configured, and say what to do about each that fails; exit status 0 when nothing did."""
    from secureconnect.doctor import examine, report  # noqa: PLC0415  (it looks at what the others only use)
    from secureconnect.doctor.finding import failed  # noqa: PLC0415

    set_up_logging("critical", "auto")
    try:
        settings = load_settings(config, host=host, port=port, data_dir=data_dir, services=services)
        findings = run(examine(settings))
    except ConfigurationError as failure:
        findings = [failed("settings", str(failure), "correct it, then ask again; `secureconnect config` lists what there is")]
    if as_json:
        sys.stdout.write(escape_json(report.as_json(findings)) + "\n")
    else:
        console.print(report.as_table(findings))
    sys.exit(0 if report.is_healthy(findings) else 1)


After = Annotated[UUID | None, Parameter(help="Only what came after the event of this id, the `webhook-id` of a request.")]


@webhooks.command(name="list")
def list_webhooks(
    *, after: After = None, limit: int = 50, config: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """The events that are remembered, and what became of each."""
    from secureconnect.webhooks import table  # noqa: PLC0415

    settings = read_settings(config, data_dir=data_dir, log_level="error")
    ask = partial(events_after, after=after, limit=limit)
    found = ask_database(settings, lambda database: database.read(ask))
    if as_json:
        sys.stdout.write(escape_json(table.as_json(found)) + "\n")
    else:
        console.print(table.as_table(found))


@webhooks.command
def replay(
    *,
    after: After = None,
    failed: Annotated[bool, Parameter(help="Only those that were given up or refused.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Send again what was sent after an event, in order; the servers that run do it. Without --after: all that is remembered."""
    settings = read_settings(config, data_dir=data_dir, log_level="error")
    again = partial(send_again, after=after, now=SystemClock().now(), only_failed=failed)
    count = ask_database(settings, lambda database: database.transact(again, isolation="committed"))
    console.print(f"{count} events are due again.")


@webhooks.command(name="token")
def webhook_token(
    *,
    hours: Annotated[float, Parameter(help="How long it is good.")] = 24.0,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Print a token with which an application reads /v1/webhooks/events."""
    settings = read_settings(config, data_dir=data_dir, log_level="error")
    tokens = ApplicationTokens(
        secret=shared_secret(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience, clock=SystemClock()
    )
    sys.stdout.write(tokens.issue("application", timedelta(hours=hours)) + "\n")


Url = Annotated[str | None, Parameter(help="Origin of the server; without it one is started for the time of the run.")]
Secret = Annotated[str | None, Parameter(env_var="SECURECONNECT_JWT_SECRET", help="The server's secret: people are minted here.")]


@bench.command
def relay(*, url: Url = None, secret: Secret = None, pairs: int = 50, seconds: float = 5.0, as_json: Json = False) -> None:
    """What relaying one signaling message costs the server, and how long it takes."""
    from secureconnect.load.options import RelayOptions  # noqa: PLC0415
    from secureconnect.load.relay import run_relay  # noqa: PLC0415

    _measure(run_relay(RelayOptions(url=url, secret=secret, pairs=pairs, seconds=seconds), _progress), as_json=as_json)


@bench.command
def connections(
    *, url: Url = None, secret: Secret = None, sockets: int = 20_000, hold: float = 45.0, as_json: Json = False
) -> None:
    """What holding many idle sockets costs the server."""
    from secureconnect.load.connections import run_connections  # noqa: PLC0415
    from secureconnect.load.options import ConnectionsOptions  # noqa: PLC0415

    options = ConnectionsOptions(url=url, secret=secret, sockets=sockets, hold_seconds=hold)
    _measure(run_connections(options, _progress), as_json=as_json)


@bench.command
def calls(
    *,
    url: Url = None,
    secret: Secret = None,
    pairs: int = 50,
    seconds: float = 10.0,
    rate: float | None = None,
    as_json: Json = False,
) -> None:
    """Whole calls, from initiate to the end: how many a second, how long until the other's phone knows."""
    from secureconnect.load.calls import run_calls  # noqa: PLC0415
    from secureconnect.load.options import CallsOptions  # noqa: PLC0415

    options = CallsOptions(url=url, secret=secret, pairs=pairs, seconds=seconds, rate=rate)
    _measure(run_calls(options, _progress), as_json=as_json)


@bench.command
def initiates(
    *,
    url: Url = None,
    secret: Secret = None,
    pairs: int = 50,
    seconds: float = 10.0,
    rate: float | None = None,
    as_json: Json = False,
) -> None:
    """Rings that nobody answers: how many a second, how long until the other's phone knows."""
    from secureconnect.load.initiates import run_initiates  # noqa: PLC0415
    from secureconnect.load.options import InitiatesOptions  # noqa: PLC0415

    options = InitiatesOptions(url=url, secret=secret, pairs=pairs, seconds=seconds, rate=rate)
    _measure(run_initiates(options, _progress), as_json=as_json)


@app.command(name="config")
def print_config(*, config: ConfigFile = None) -> None:
    """Every setting with its value and a sentence on it; secrets are not shown."""
    settings = load_settings(config)
    for name, field in Settings.model_fields.items():
        console.print(Text.assemble((name, "bold"), f" = {getattr(settings, name)!r}"), highlight=False)
        console.print(f"    {field.description}", style="dim", highlight=False)


async def _serve(settings: Settings, beside: Callable[[str], Coroutine[Any, Any, int]] | None = None, *, demo: bool = False) -> int:
    """Serve until told to stop; with `beside`, run it against the server and stop when it ends."""
    listener = listen(settings)
    restrict(settings)
    allow_open_files(settings.max_sockets)
    server = Server(Application(settings, demo=demo), listener, listen_for_metrics(settings))
    serving = asyncio.create_task(server.serve())
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
    if beside is None or not server.started:
        listening.cancel()
        await serving
        return 0 if server.started else 1
    scheme = "https" if settings.tls_certificate else "http"
    companion = asyncio.create_task(beside(settings.public_url or f"{scheme}://localhost:{server.port}"))
    await asyncio.wait({serving, companion}, return_when=asyncio.FIRST_COMPLETED)
    companion.cancel()
    server.should_exit = True
    await asyncio.wait({companion})
    await serving
    return 0 if companion.cancelled() else companion.result()


def _complain(words: str) -> None:
    console.print(Text.assemble(("secureconnect:", "red"), " ", foreign(words)), highlight=False)


def _measure(load: "Coroutine[Any, Any, Report]", *, as_json: bool) -> None:
    from secureconnect.load import LoadError  # noqa: PLC0415

    try:
        report = run(load)
    except LoadError as failure:
        _complain(str(failure))
        sys.exit(1)
    if as_json:
        sys.stdout.write(report.to_json().decode() + "\n")
    else:
        console.print(report)
    sys.exit(0 if report.ok else 1)


def _user(name: str) -> Any:
    try:
        return UUID(name)
    except ValueError:
        return name
