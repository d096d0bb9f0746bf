"""`secureconnect doctor`: every dependency as configured, and what to do about each that fails. Called by cli.

    finding.py   what is said of one thing
    machine.py   what this machine must give: Python, data directory, secret, open files, addresses
    port.py      how clients reach us: the port, TLS
    shared.py    what is shared with other nodes: database, its schema and clock, bus
    sfu.py       whether group calls have an SFU
    recording.py whether calls can be recorded
    turn.py      whether TURN relays, over each transport
    webhook.py   whether the outside application takes events
    report.py    the table, and the same as JSON

It asks for real and changes nothing: what it writes or starts, it takes back.
"""

from importlib.metadata import version

from secureconnect.config import Settings
from secureconnect.doctor import machine, port, recording, sfu, shared, turn, webhook
from secureconnect.doctor.finding import Finding, ok


async def examine(settings: Settings) -> list[Finding]:
    """One finding for each thing that `serve` needs under these settings."""
    return [
        ok("settings", f"readable; this process serves {settings.services}"),
        machine.python(),
        machine.data_dir(settings),
        machine.secret(settings),
        machine.open_files(settings),
        machine.addresses(settings),
        await port.port(settings),
        await port.metrics(settings),
        port.tls(settings),
        *await shared.database(settings),
        await shared.bus(settings),
        *await turn.turn(settings),
        *await sfu.sfu(settings),
        await recording.recording(settings),
        await webhook.webhook(settings, version("secureconnect")),
    ]
