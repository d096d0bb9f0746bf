"""Which client the gateway counts a connection for: needs addresses of its own, so it runs inside tests/namespace."""

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.fakes.haproxy import Gateway
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio
IPV6 = ("2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:2::1")


async def test_an_ipv6_64_is_one_client_and_a_mapped_address_is_its_ipv4_address(tmp_path: Path) -> None:
    for address in IPV6:
        added = await asyncio.create_subprocess_exec("ip", "-6", "addr", "add", f"{address}/128", "dev", "lo")
        assert await added.wait() in (0, 2), "2: it is there already"
    async with ServerProcess(tmp_path / "data") as server:
        gateway = Gateway([server.port])
        gateway.environment = {
            **(gateway.environment or {}),
            "GATEWAY_BIND": f":::{gateway.port}",
        }  # IPv4 clients come as ::ffff:a.b.c.d
        await gateway.start()
        try:
            trusting = ssl.create_default_context(cafile=gateway.certificate)
            trusting.check_hostname = False
            for source, target in [*((address, "::1") for address in IPV6), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1")]:
                await ask(source, target, gateway.port, trusting)
            table = await gateway.tell("show table by_address")
        finally:
            await gateway.stop()
    keys = [line.partition("key=")[2].split()[0] for line in table.splitlines() if "key=" in line]
    assert sorted(keys) == ["2001:db8:1:1::", "2001:db8:1:2::", "::ffff:127.0.0.1", "::ffff:127.0.0.2"]


async def ask(source: str, target: str, port: int, trusting: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(target, port, ssl=trusting, local_addr=(source, 0))
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    await reader.read()
    writer.close()
