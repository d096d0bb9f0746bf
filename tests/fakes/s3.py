"""A server that speaks S3 (moto's), on a free loopback port, with one empty bucket."""

import asyncio
import sys
from collections.abc import Sequence

import httpx2

from tests.fakes.program import Program

BUCKET = "films"
ACCESS = {"AWS_ACCESS_KEY_ID": "a name", "AWS_SECRET_ACCESS_KEY": "a secret", "AWS_REGION": "us-east-1"}


class S3(Program):
    """`environment_of_clients` is what leads to it."""

    name = sys.executable
    start_seconds = 30.0
    does_not_start = "moto does not start"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment_of_clients(self) -> dict[str, str]:
        return {**ACCESS, "AWS_ENDPOINT_URL": self.url}

    @property
    def command(self) -> Sequence[str]:
        return self.name, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)

    async def until_ready(self) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            while True:
                try:
                    made = await http.put(f"{self.url}/{BUCKET}")
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    assert made.status_code == 200, made.text
                    return
