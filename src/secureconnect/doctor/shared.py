"""What nodes share: the database, its schema, whether it takes a write, its clock; and the bus, heard from end to end."""

import asyncio
from collections.abc import Awaitable
from urllib.parse import urlsplit
from uuid import uuid4

from secureconnect.bus import open_bus
from secureconnect.clock import SystemClock
from secureconnect.config import Settings
from secureconnect.doctor.finding import Finding, Verdict, failed, ok, skipped
from secureconnect.ids import NodeId
from secureconnect.store import Database, open_database, probes
from secureconnect.store.schema import current_revision, wanted_revision

ANSWER_SECONDS = 10.0
CLOCK_SECONDS = 1.0
"""How far two clocks may be apart: leases and rings are counted in tens of seconds."""


async def database(settings: Settings) -> list[Finding]:
    """Four findings; what cannot be asked because of an earlier one is skipped."""
    file = None if settings.is_database_shared else probes.sqlite_file(settings.database)
    if file is not None and not file.exists():
        return [skipped("database", f"{file} is made at the first start"), *_not_asked("schema", "write", "database clock")]
    reach = "set database_url to a database that answers, with its user, password and name"
    try:
        opened = open_database(settings.database)
    except Exception as failure:  # whatever is wrong with a URL, the library has a kind of its own for it
        return [failed("database", _words(failure), reach), *_not_asked("schema", "write", "database clock")]
    try:
        first = await _attempt("database", _reached(opened), reach)
        if first.verdict is Verdict.FAILED:
            return [first, *_not_asked("schema", "write", "database clock")]
        schema = await _attempt("schema", _schema(opened), "run `secureconnect migrate`")
        write = (
            await _attempt(
                "write", _write(opened), "let the user of database_url insert and delete, and look whether the disk is full"
            )
            if schema.verdict is Verdict.OK
            else _not_asked("write")[0]
        )
        return [first, schema, write, await _attempt("database clock", _clock(opened), "let both machines keep time by NTP")]
    finally:
        await opened.close()


def _not_asked(*subjects: str) -> list[Finding]:
    return [skipped(subject, "not asked") for subject in subjects]


async def _reached(opened: Database) -> Finding:
    level = await opened.transact(probes.isolation)
    if level != "serializable":
        return failed("database", f"{opened.dialect}, {level}", "the database must offer SERIALIZABLE transactions")
    return ok("database", f"{opened.dialect}, serializable")


async def _schema(opened: Database) -> Finding:
    found, wanted = await current_revision(opened), wanted_revision()
    if found == wanted:
        return ok("schema", f"at {found}")
    if not opened.is_shared:
        return skipped("schema", f"at {found}; `serve` brings its own file to {wanted}")
    return failed("schema", f"at {found}, this program needs {wanted}", "run `secureconnect migrate` of the newest version in use")


async def _write(opened: Database) -> Finding:
    clock = SystemClock()
    node_id = NodeId(uuid4())

    begun = clock.monotonic()
    await opened.transact(lambda connection: probes.write_and_take_back(connection, node_id, clock.now()))
    return ok("write", f"a transaction in {(clock.monotonic() - begun) * 1000:.1f} ms")


async def _clock(opened: Database) -> Finding:
    if not opened.is_shared:
        return skipped("database clock", "this machine's own")
    clock = SystemClock()
    before = clock.now()
    theirs = await opened.read(probes.clock)
    after = clock.now()
    # Asked somewhere between the two: no error larger than half of the way there and back.
    apart = abs((theirs - (before + (after - before) / 2)).total_seconds())
    if apart > CLOCK_SECONDS:
        return failed("database clock", f"{apart:.1f} s from ours", "let both machines keep time by NTP")
    return ok("database clock", f"{apart * 1000:.0f} ms from ours")


async def bus(settings: Settings) -> Finding:
    """Publish and hear, as two nodes would."""
    place = urlsplit(settings.bus_url)
    where = f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
    advice = "start Redis 7 or newer there, or correct bus_url"
    if place.scheme.endswith("+cluster"):
        advice = "see `redis-cli --cluster check` there: every slot needs a master that answers; or correct bus_url"
    elif place.scheme.endswith("+sentinel"):
        advice = (
            "see `redis-cli -p 26379 sentinel masters` there: the name must be one of them, and the master up; or correct bus_url"
        )
    finding = await _attempt("bus", _round_trip(settings.bus_url, where), advice)
    if finding.verdict is Verdict.OK and settings.is_database_shared and not settings.is_bus_shared:
        return ok(
            "bus", f"{finding.detail}; no other node may use this database", "set bus_url to Redis before a second node starts"
        )
    return finding if finding.verdict is Verdict.OK else failed("bus", f"{where}: {finding.detail}", advice)


async def _round_trip(url: str, where: str) -> Finding:
    clock = SystemClock()
    opened = open_bus(url, clock, f"doctor-{uuid4()}")
    running = asyncio.ensure_future(opened.run())
    heard = asyncio.Event()
    topic = f"doctor:{uuid4()}"
    try:
        await opened.subscribe(topic, lambda _: heard.set())
        begun = clock.monotonic()
        opened.publish(topic, b"{}")
        await heard.wait()
        latency = clock.monotonic() - begun
        await opened.unsubscribe(topic)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await opened.close()
    return ok("bus", f"{where}, heard after {latency * 1000:.1f} ms")


async def _attempt(subject: str, work: Awaitable[Finding], advice: str) -> Finding:
    """What `work` finds, or in words why it could not."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await work
    except TimeoutError:
        return failed(subject, f"no answer within {ANSWER_SECONDS:g} s", advice)
    except Exception as failure:  # whatever a driver raises, the doctor says it and goes on
        return failed(subject, _words(failure), advice)


def _words(failure: BaseException) -> str:
    """The first line of the cause, if there is one: our own errors say what it means for a client, not what it was."""
    cause = failure.__cause__ or failure
    lines = str(cause).strip().splitlines()
    return lines[0][:200] if lines else type(cause).__name__
