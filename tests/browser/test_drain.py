"""A page that is asked to come back later does so: it closes, waits as long as it was told, and resumes."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import WebSocket

from tests.browser.pages import PATIENCE_SECONDS, chromium, register
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

DRAIN_SECONDS = 4
START_ALL = """async ({ token, callId }) => {
    const { Events, Signaling } = await import('/sdk/protocol.js');
    const options = { origin: location.origin, token: async () => token };
    globalThis.sockets = [new Events(options), new Signaling({ ...options, callId })];
    for (const socket of globalThis.sockets) socket.open();
}"""


class Watched:
    """One kind of socket of a page: when each was opened and closed, and the frames that came, in seconds of one clock."""

    def __init__(self) -> None:
        self.opened: list[tuple[float, str]] = []
        self.closed: list[float] = []
        self.frames: list[tuple[float, dict[str, Any]]] = []

    def watch(self, socket: WebSocket) -> None:
        self.opened.append((time.monotonic(), socket.url))
        socket.on("close", lambda _: self.closed.append(time.monotonic()))
        socket.on("framereceived", lambda payload: self.frames.append((time.monotonic(), json.loads(payload))))

    def heard(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [one for one in self.frames if one[1]["type"] == kind]

    async def until(self, kind: str, times: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS + DRAIN_SECONDS):
            while True:
                if len(self.heard(kind)) >= times:
                    return
                await asyncio.sleep(0.02)


async def call_of_one(http: httpx2.AsyncClient, server: ServerProcess) -> tuple[str, str]:
    """The token of somebody who rings somebody else, and the call."""
    ada, ben = [await register(http, server.url, name) for name in ("Ada", "Ben")]
    made = await http.post(f"{server.url}/v1/conversations", json={"participant_ids": [ben.user_id]}, headers=ada.headers)
    body = {
        "call_type": "audio",
        "conversation_id": made.json()["conversation_id"],
        "callee_ids": [ben.user_id],
        "ring_timeout": 180,
    }
    call = await http.post(f"{server.url}/v1/calls/initiate", json=body, headers=ada.headers)
    assert call.status_code == 201, call.text
    return ada.headers["Authorization"].removeprefix("Bearer "), call.json()["call_id"]


async def test_both_sockets_of_the_library_obey(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, DRAIN_SECONDS=str(DRAIN_SECONDS))
    await server.start()
    async with chromium() as browser, httpx2.AsyncClient(trust_env=False) as http:
        token, call_id = await call_of_one(http, server)
        page = await browser.new_page()
        watched = {"/v1/ws/events": Watched(), "/v1/calls/ws/signaling": Watched()}
        page.on("websocket", lambda socket: watched[httpx2.URL(socket.url).path].watch(socket))
        await page.goto(f"{server.url}/docs/errors")
        await page.evaluate(START_ALL, {"token": token, "callId": call_id})
        for one in watched.values():
            await one.until("welcome", 1)
        assert await server.stop() == 0
        await server.start()
        try:
            for one in watched.values():
                await one.until("welcome", 2)
        finally:
            await server.stop()
    for path, one in watched.items():
        ((asked, frame),) = one.heard("reconnect")[:1]
        assert one.closed[0] - asked < 1, "closes at once"
        came_back, address = one.opened[1]
        assert came_back - asked >= frame["after_ms"] / 1000 - 0.05, "not before its time"
        assert ("cursor=" if path == "/v1/ws/events" else "resume=") in address
