"""A network beside the one of the tests, whose address can be changed: a laptop carried to another room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.browser.pages import CHROMIUM

HERE = "10.79.0.1"
"""How this side of the cable is called."""


class OtherNetwork:
    """A network namespace that is joined to this one by a cable. Its side has one address at a time."""

    def __init__(self, holder: asyncio.subprocess.Process, folder: Path) -> None:
        self._holder = holder
        self._count = 2
        self.browser = folder / "chromium"
        """A program that starts the browser there."""
        self.browser.write_text(f'#!/bin/sh\nexec nsenter --target {holder.pid} --net {CHROMIUM} "$@"\n')
        self.browser.chmod(0o755)

    @property
    def address(self) -> str:
        return f"10.79.0.{self._count}"

    async def join(self) -> None:
        await run(*f"ip link add road0 type veth peer name road1 netns {self._holder.pid}".split())
        await run(*f"ip address add {HERE}/24 dev road0".split())
        await run("ip", "link", "set", "road0", "up")
        for words in (
            "link set lo up",
            f"address add {self.address}/24 dev road1",
            "link set road1 up",
            f"route add default via {HERE}",
        ):
            await self._there("ip", *words.split())

    async def move(self) -> None:
        """The old address is gone, another one is there."""
        await self._there(*f"ip address del {self.address}/24 dev road1".split())
        self._count += 1
        await self._there(*f"ip address add {self.address}/24 dev road1".split())
        await self._there(*f"ip route replace default via {HERE}".split())

    async def limit(self, kbps: int | None) -> None:
        """What this side sends over the cable goes no faster, with a tenth of a second of it waiting; None: as fast as it can."""
        if kbps is None:
            await run(*["tc", "qdisc", "del", "dev", "road0", "root"])
        else:
            await run(*f"tc qdisc add dev road0 root tbf rate {kbps}kbit burst 10kb latency 100ms".split())

    async def _there(self, *command: str) -> None:
        await run("nsenter", "--target", str(self._holder.pid), "--net", *command)


async def run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command


@asynccontextmanager
async def other_network(folder: Path) -> AsyncIterator[OtherNetwork]:
    holder = await asyncio.create_subprocess_exec(
        "unshare", "--net", "sh", "-c", "echo here; exec sleep infinity", stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    network = OtherNetwork(holder, folder)
    try:
        await network.join()
        yield network
    finally:
        await run("ip", "link", "delete", "road0")  # the namespace takes its time to take it along
        holder.terminate()
        await holder.wait()
