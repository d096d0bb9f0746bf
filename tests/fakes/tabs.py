"""Closed tabs: browsers that hear of calls by Web Push alone, at a push service in this process that real servers post to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from tests.fakes.browser import Browser
from tests.fakes.people import PATIENCE_SECONDS, Json, Person
from tests.fakes.provider import Answer, Provider, Request, listening

HOSTS = '["127.0.0.1"]'
"""The setting `webpush_hosts` of a server that believes in this push service."""
ENDS = ("call.answered_elsewhere", "call.declined_elsewhere", "call.missed")


class Tab:
    """One closed tab of one person. `pushes` is everything that came, in order, each with its moment by the loop's clock (`at`)."""

    def __init__(self, endpoint: str) -> None:
        self.device_id = str(uuid4())
        self.browser = Browser(endpoint)
        self.pushes: list[Json] = []
        self._came = asyncio.Event()

    def take(self, body: bytes) -> None:
        self.pushes.append(self.browser.read(body) | {"at": asyncio.get_running_loop().time()})
        self._came.set()

    def about(self, call: Json) -> list[str]:
        """The types of what came about this call."""
        return [push["type"] for push in self.pushes if push["call_id"] == call["call_id"]]

    async def heard(self, call: Json, *kinds: str) -> None:
        """Wait until one of these came about this call."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not set(kinds) & set(self.about(call)):
                self._came.clear()
                await self._came.wait()

    async def told_the_end(self, call: Json) -> str:
        """The type of the push that ends the ring of this call: the last one about it, and the only one of its kind."""
        await self.heard(call, *ENDS)
        *before, last = self.about(call)
        assert before in ([], ["call.incoming"]), (before, last)
        return last


class PushService:
    """The push service of those tabs. `answer` decides what it says, after the tab has what was sent."""

    def __init__(self) -> None:
        self._provider = Provider(self._deliver)
        self._tabs: dict[str, Tab] = {}
        self._url = ""
        self._next: asyncio.Future[None] | None = None
        self.answer: Callable[[Tab, Request], Answer] = lambda _tab, _request: Answer(201)

    async def tab_of(self, person: Person) -> Tab:
        """A tab in which this person signed in, and which they closed."""
        path = f"/{uuid4().hex}"
        tab = self._tabs[path] = Tab(self._url + path)
        body = {"platform": "web", "provider": "webpush", "subscription": tab.browser.subscription()}
        await person.ask("PUT", f"/v1/devices/{tab.device_id}", body)
        return tab

    def next_push(self) -> "asyncio.Future[None]":
        """Done when the next request is there, before it is answered."""
        self._next = asyncio.get_running_loop().create_future()
        return self._next

    def _deliver(self, request: Request) -> Answer:
        tab = self._tabs[request.path]
        tab.take(request.body)
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        return self.answer(tab, request)


@asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """One, while it listens."""
    service = PushService()
    async with listening(service._provider) as url:
        service._url = url
        yield service
