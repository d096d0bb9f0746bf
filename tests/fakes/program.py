"""A real server's program as Debian has it, started in a folder of its own; nothing is left behind."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.fakes.ports import free_port


class Program:
    """What is started is said by `command`, when it is ready by `until_ready`. It listens on `port` of loopback."""

    name: ClassVar[str]
    start_seconds: ClassVar[float]
    does_not_start: ClassVar[str]
    """What is said of one that is not ready in time."""
    environment: Mapping[str, str] | None = None
    """None for that of the tests."""

    def __init__(self, port: int | None = None) -> None:
        if shutil.which(self.name) is None:
            raise RuntimeError(f"{self.name} is not installed: run tests/engines")
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"secureconnect-{Path(self.name).name}-"))
        self.process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> Sequence[str]:
        raise NotImplementedError

    @property
    def said(self) -> str:
        """Everything it wrote."""
        return (self.folder / "words").read_text()

    async def until_ready(self) -> None:
        """Return once it does what it is for, however long that takes."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start, and return once it is ready. Raises RuntimeError with its last words when that takes too long."""
        with (self.folder / "words").open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(*self.command, env=self.environment, stdout=output, stderr=output)
        try:
            async with asyncio.timeout(self.start_seconds):
                await self.until_ready()
        except TimeoutError:
            said = self.said[-2000:]
            await self.stop()
            raise RuntimeError(f"{self.does_not_start}:\n{said}") from None

    async def stop(self) -> None:
        """End it, and forget what it kept."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
