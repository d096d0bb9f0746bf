"""A program that works on what participants sent, run once: with little power, bounded, and ended with the task that waits for it.

Used by `recording.compose`; knows nothing of what the programs do. They parse hostile media, and janus-pp-rec trusts every length
in it. So a program gets none of our environment, is nobody when we are root, can gain no rights, and has limits on time, memory and
files. It works in the scratch folder and is told nothing of the folders above it: names are relative, an input from elsewhere is
its stdin.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from msgspec import Struct

from secureconnect.media.janus_bundle import find_command
from secureconnect.recording import CannotCompose

NOBODY = 65534
NICE = 19
"""Calls come first."""
STALLED = 60
"""Whoever needs more than so many times the CPU seconds it may use, and a minute, waits for something that does not come."""
MAX_WORDS = 200
CHUNK_BYTES = 65_536
SOURCES = {
    "janus-pp-rec": "janus-pp-rec with `secureconnect sfu install`",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
    "nice": "coreutils",
}


class Limits(Struct, frozen=True):
    """What a program may use: seconds of CPU, bytes of address space, bytes in one file. setrlimit(2)."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int


def missing_programs() -> list[str]:
    """What to install before a film can be made: Debian's packages and what we install; empty when all is there."""
    return sorted({source for program, source in SOURCES.items() if not (find_command(program) or shutil.which(program))})


def open_to_programs(folder: Path) -> None:
    """Let programs write into `folder`, which is ours and empty."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)


async def run(
    arguments: Sequence[str],
    folder: Path,
    limits: Limits,
    *,
    stdin: IO[bytes] | int = asyncio.subprocess.DEVNULL,
    on_output: Callable[[bytes], None] = lambda chunk: None,
) -> None:
    """Run `arguments` in `folder` until it ends; `on_output` gets what it writes to stdout. Cancelled: it is killed.

    Raises CannotCompose with its last words when it fails, exceeds a limit, or does not start.
    """
    program, *more = arguments
    try:
        process = await asyncio.create_subprocess_exec(
            *_bounds(limits),
            *(find_command(program) or (shutil.which(program) or program,)),
            *more,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath},
            cwd=folder,
            start_new_session=True,
        )
    except OSError as failure:
        raise CannotCompose(f"{program} did not start: {failure}") from failure
    words = bytearray()
    try:
        async with asyncio.timeout(60 + STALLED * limits.cpu_seconds):
            await asyncio.gather(_read(process.stdout, on_output), _read(process.stderr, lambda chunk: _remember(words, chunk)))
            status = await process.wait()
    except TimeoutError:
        raise CannotCompose(f"{program} does not come to an end") from None
    finally:
        await _kill(process)
    if status != 0:
        raise CannotCompose(f"{program}: {_last_line(words) or _ending(status)}")


def _bounds(limits: Limits) -> tuple[str, ...]:
    """The programs that start it within its bounds; each becomes the next."""
    as_nobody = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups") if os.geteuid() == 0 else ()
    return (
        *("setpriv", *as_nobody, "--no-new-privs", "--pdeathsig", "KILL", "--"),
        *(
            "prlimit",
            f"--cpu={limits.cpu_seconds}",
            f"--as={limits.memory_bytes}",
            f"--fsize={limits.file_bytes}",
            "--core=0",
            "--",
        ),
        *("nice", "-n", str(NICE), "--"),
    )


async def _read(stream: asyncio.StreamReader | None, take: Callable[[bytes], None]) -> None:
    """A pipe that nobody reads stops the one who writes."""
    assert stream is not None
    while chunk := await stream.read(CHUNK_BYTES):
        take(chunk)


def _remember(words: bytearray, chunk: bytes) -> None:
    words += chunk
    del words[: -4 * MAX_WORDS]


def _last_line(words: bytearray) -> str:
    lines = [line for line in words.decode(errors="replace").splitlines() if line.strip()]
    return "".join(character for character in lines[-1] if character.isprintable())[-MAX_WORDS:] if lines else ""


def _ending(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"ended with {status}"


async def _kill(process: asyncio.subprocess.Process) -> None:
    """With whatever it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
