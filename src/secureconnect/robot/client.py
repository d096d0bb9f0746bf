"""The HTTP API as one signed-in user calls it: register, log in, talk, call. Tokens renew themselves.

Made by `commands`, `demo` and by tests and load tools; `sockets` asks it for tokens. It knows requests and answers, and keeps no
state of any call.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import httpx2
import msgspec

from secureconnect.clock import Clock
from secureconnect.ids import CallId, ConversationId, DeviceId, UserId
from secureconnect.robot.problems import ProblemError, UnreachableError, problem
from secureconnect.robot.wire import Call, CallType, Conversation, Message, Page, SignIn, User

Answer = TypeVar("Answer")

RENEW_SECONDS = 60.0
"""An access token is renewed this long before it ends, so that none ends on its way to the server."""
PATIENCE_SECONDS = 5.0
"""The longest Retry-After that is waited out here; a longer one is the caller's to judge."""
ATTEMPTS = 4
"""How often a request is made whose refusal may pass."""


def http_client() -> httpx2.AsyncClient:
    """An HTTP client fit for `Client`. Proxies of the environment are ignored: media could not pass them either."""
    return httpx2.AsyncClient(trust_env=False, timeout=10.0)


class Client:
    """One user of the server at `base_url` (http or https, without a trailing path).

    Sign in with `register`, `login` or `use_token` first. Every method that asks the server raises ProblemError when it refuses
    and UnreachableError when it does not answer; ids are UUIDs, times are in UTC.
    """

    def __init__(self, base_url: str, http: httpx2.AsyncClient, *, clock: Clock, device_id: DeviceId | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.device_id = device_id
        self._http = http
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._access_token: str | None = None
        self._ends_at = 0.0
        self._refresh_token: str | None = None
        self._credentials: tuple[str, str] | None = None

    # Who am I

    async def register(self, email: str, password: str, display_name: str) -> User:
        """Create an account and sign in with it. ProblemError `email_taken` when there is one already."""
        body = {"email": email, "password": password, "display_name": display_name}
        signed_in = await self._ask(SignIn, "POST", "/v1/auth/register", body, signed=False)
        self._credentials = email, password
        return self._keep(signed_in)

    async def login(self, email: str, password: str) -> User:
        """Sign in. ProblemError `wrong_credentials` when email and password do not belong together."""
        body = {"email": email, "password": password}
        signed_in = await self._ask(SignIn, "POST", "/v1/auth/login", body, signed=False)
        self._credentials = email, password
        return self._keep(signed_in)

    def use_token(self, access_token: str) -> None:
        """Act with a token made elsewhere; it cannot be renewed here."""
        self._access_token, self._ends_at = access_token, float("inf")

    async def me(self) -> User:
        return await self._ask(User, "GET", "/v1/users/me")

    @property
    def can_renew(self) -> bool:
        """Whether a new token can be had when this one expires: not when it was made elsewhere."""
        return self._credentials is not None or self._refresh_token is not None

    async def access_token(self, at_least: float = RENEW_SECONDS) -> str:
        """A token that is good for at least so many seconds, renewed first if it is not."""
        async with self._renewing:
            if self._access_token is None or self._clock.monotonic() > self._ends_at - max(at_least, RENEW_SECONDS):
                await self._renew()
            assert self._access_token is not None
            return self._access_token

    def expire(self, token: str) -> None:
        """The server refused `token`: the next `access_token` is a new one."""
        if token == self._access_token and self._credentials is not None:
            self._access_token = None

    # Conversations

    async def conversations(self) -> list[Conversation]:
        found: list[Conversation] = []
        cursor: str | None = None
        while True:
            query = {"limit": 100} if cursor is None else {"limit": 100, "cursor": cursor}
            page = await self._ask(Page[Conversation], "GET", f"/v1/conversations?{urlencode(query)}")
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def conversation(self, conversation_id: ConversationId) -> Conversation:
        return await self._ask(Conversation, "GET", f"/v1/conversations/{conversation_id}")

    async def create_conversation(self, participant_ids: Sequence[UserId], title: str | None = None) -> Conversation:
        body = {"participant_ids": participant_ids, "title": title}
        return await self._ask(Conversation, "POST", "/v1/conversations", _present(body))

    async def write(self, conversation_id: ConversationId, content: str) -> Message:
        """Write a message of 1 to 8000 characters."""
        body = {"conversation_id": conversation_id, "content": content}
        return await self._ask(Message, "POST", "/v1/messages", body)

    async def messages(self, conversation_id: ConversationId) -> list[Message]:
        """The newest hundred entries of the timeline, calls among them, newest first."""
        query = urlencode({"conversation_id": conversation_id, "limit": 100})
        return (await self._ask(Page[Message], "GET", f"/v1/messages?{query}")).items

    # Calls

    async def initiate(
        self,
        conversation_id: ConversationId,
        callee_ids: Sequence[UserId],
        *,
        call_type: CallType = "video",
        ring_timeout: int | None = None,
    ) -> Call:
        """Ring `callee_ids` for `ring_timeout` seconds (5 to 180); the caller is in the call from here on."""
        body = {
            "conversation_id": conversation_id,
            "callee_ids": callee_ids,
            "call_type": call_type,
            "ring_timeout": ring_timeout,
            "device_id": self.device_id,
        }
        return await self._ask(Call, "POST", "/v1/calls/initiate", _present(body))

    async def call(self, call_id: CallId) -> Call:
        return await self._ask(Call, "GET", f"/v1/calls/{call_id}")

    async def join(self, call_id: CallId, mode: Literal["add", "move"] | None = None) -> Call:
        """Answer or enter. With another device of one's own in the call: `add` this one too, or `move` the call here."""
        body = _present({"device_id": self.device_id, "mode": mode})
        return await self._ask(Call, "POST", f"/v1/calls/{call_id}/join", body)

    async def decline(self, call_id: CallId) -> Call:
        return await self._ask(Call, "POST", f"/v1/calls/{call_id}/decline", _present({"device_id": self.device_id}))

    async def leave(self, call_id: CallId) -> Call:
        """Leave with all one's sessions. To leave with one of them alone: `SignalingSocket.leave`."""
        return await self._ask(Call, "POST", f"/v1/calls/{call_id}/leave")

    async def end(self, call_id: CallId) -> Call:
        return await self._ask(Call, "POST", f"/v1/calls/{call_id}/end")

    # How requests are made

    async def _ask(self, answer: type[Answer], method: str, path: str, body: object = None, *, signed: bool = True) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            token = await self.access_token() if signed else None
            try:
                return msgspec.json.decode(await self._send(method, path, body, token), type=answer)
            except ProblemError as refusal:
                if attempt == ATTEMPTS or not await self._curable(refusal, token):
                    raise
        raise AssertionError("unreachable: the last attempt returned or raised")

    async def _curable(self, refusal: ProblemError, token: str | None) -> bool:
        """Whether asking again makes sense now: after a wait, or with another token."""
        if refusal.code == "token_expired" and token is not None and self._credentials is not None:
            self.expire(token)
            return True
        if refusal.passing and refusal.retry_after is not None and refusal.retry_after <= PATIENCE_SECONDS:
            await self._clock.sleep(refusal.retry_after)
            return True
        return False

    async def _send(self, method: str, path: str, body: object, token: str | None) -> bytes:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            response = await self._http.request(method, self.base_url + path, content=content, headers=headers)
        except httpx2.TransportError as failure:
            reason = str(failure) or type(failure).__name__
            raise UnreachableError(f"no answer from {self.base_url}: {reason}") from failure
        if response.status_code >= 400:
            raise problem(response.status_code, response.headers, response.content)
        return response.content

    async def _renew(self) -> None:
        """A new access token: by the refresh token or, when that is refused (the server lost it, it ended), by signing in."""
        if self._refresh_token is not None:
            refresh_token, self._refresh_token = self._refresh_token, None
            try:
                content = await self._send("POST", "/v1/auth/refresh", {"refresh_token": refresh_token}, None)
            except UnreachableError:
                self._refresh_token = refresh_token
                raise
            except ProblemError as refusal:
                if refusal.passing:
                    self._refresh_token = refresh_token
                if refusal.status != 401:
                    raise
            else:
                self._keep(msgspec.json.decode(content, type=SignIn))
                return
        if self._credentials is None:
            raise ProblemError(401, "unauthenticated", "sign in first, or give a token that has not ended")
        email, password = self._credentials
        content = await self._send("POST", "/v1/auth/login", {"email": email, "password": password}, None)
        self._keep(msgspec.json.decode(content, type=SignIn))

    def _keep(self, signed_in: SignIn) -> User:
        self._access_token = signed_in.access_token
        self._refresh_token = signed_in.refresh_token
        # A token that lives shorter than the margin is used for half its life instead of being renewed at every request.
        self._ends_at = self._clock.monotonic() + max(signed_in.expires_in, signed_in.expires_in / 2 + RENEW_SECONDS)
        return signed_in.user


def _present(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` without what was not given: absent and null are different things to a server."""
    return {name: value for name, value in body.items() if value is not None}
