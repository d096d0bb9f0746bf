"""Who may open a socket, asked for in which way, from which page."""

from typing import Any
from uuid import UUID

import pytest

from secureconnect.accounts.grant import Grant
from secureconnect.errors import ServiceError, Unauthenticated
from secureconnect.http.origins import Origins
from secureconnect.http.proxies import TrustedProxies
from secureconnect.ids import UserId
from secureconnect.signaling.upgrade import Attachment, Gate, Handshake, bearer_token, position_of, uuid_of

pytestmark = pytest.mark.anyio
ANN = UserId(UUID(int=0xA0))
HERE = "calls.example:9090"


class Nothing:
    user_id = ANN
    """An attachment that does nothing."""

    kind = "nothing"
    context: dict[str, str] = {}  # noqa: RUF012  (nobody writes to it)

    def __init__(self, query: dict[str, str]) -> None:
        self.query = query

    grant = Grant(ANN, 0.0, 1.0)

    def opened(self, channel: object) -> None: ...

    def revoked(self) -> None: ...

    def received(self, frame: bytes, now: float) -> None: ...

    async def closed(self) -> None: ...


async def authenticate(token: str) -> Grant:
    if token != "good":
        raise Unauthenticated
    return Nothing.grant


async def endpoint(grant: Grant, query: dict[str, str]) -> Attachment:
    assert grant is Nothing.grant
    return Nothing(query)


GATE = Gate(
    endpoints={"/socket": endpoint},
    authenticate=authenticate,
    origins=Origins(["https://chat.example"]),
    proxies=TrustedProxies(["127.0.0.1"]),
)


def shake(target: str = "/socket", **headers: str) -> Handshake:
    defaults = {"host": HERE, "authorization": "Bearer good"}
    return Handshake(target, {name.replace("_", "-"): [value] for name, value in (defaults | headers).items() if value})


async def admitted(handshake: Handshake) -> Any:
    return await GATE.admit(handshake)


async def refused(handshake: Handshake) -> tuple[int, str]:
    with pytest.raises(ServiceError) as refusal:
        await GATE.admit(handshake)
    return refusal.value.status, refusal.value.code


class TestOrigin:
    @pytest.mark.parametrize("origin", ["", "https://calls.example:9090", "http://CALLS.example:9090", "https://chat.example"])
    async def test_none_ones_own_and_those_allowed_may(self, origin: str) -> None:
        assert await admitted(shake(origin=origin))

    @pytest.mark.parametrize(
        "origin",
        [
            *("https://evil.example", "https://calls.example", "https://calls.example:9091", "null", "https://"),
            *("https://chat.example.evil.example", "http://chat.example", "https://calls.example:9090.evil.example"),
            *("https://calls.example:9090@evil.example", "file://"),
        ],
    )
    async def test_no_other_may(self, origin: str) -> None:
        assert await refused(shake(origin=origin)) == (403, "origin_not_allowed")

    async def test_it_is_asked_before_the_token(self) -> None:
        assert await refused(shake(origin="https://evil.example", authorization="")) == (403, "origin_not_allowed")


class TestToken:
    @pytest.mark.parametrize("authorization", ["Bearer good", "bearer good", "BEARER  good"])
    async def test_in_the_header(self, authorization: str) -> None:
        assert await admitted(shake(authorization=authorization))

    @pytest.mark.parametrize("offered", ["secureconnect.v1, bearer.good", "bearer.good,secureconnect.v1", " bearer.good "])
    async def test_as_a_subprotocol(self, offered: str) -> None:
        assert await admitted(shake(authorization="", sec_websocket_protocol=offered))

    async def test_the_header_goes_first(self) -> None:
        assert bearer_token(shake(authorization="Bearer one", sec_websocket_protocol="bearer.two")) == "one"

    @pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic good", "good", "Bearer bad"])
    async def test_without_a_good_one_nobody_enters(self, authorization: str) -> None:
        assert await refused(shake(authorization=authorization)) == (401, "unauthenticated")

    @pytest.mark.parametrize("offered", ["secureconnect.v1", "bearer.", "bearer.bad", "bearer good", ","])
    async def test_nor_with_another_subprotocol(self, offered: str) -> None:
        assert await refused(shake(authorization="", sec_websocket_protocol=offered)) == (401, "unauthenticated")

    @pytest.mark.parametrize(
        "name", ["token", "access_token", "jwt", "authorization", "bearer", "Token", "ACCESS_TOKEN", "%74oken"]
    )
    async def test_in_the_query_it_is_refused_even_beside_a_good_one(self, name: str) -> None:
        assert await refused(shake(f"/socket?{name}=good")) == (400, "token_in_query")
        assert await refused(shake(f"/socket?{name}=")) == (400, "token_in_query")


class TestAddressesThatCannotBeTakenApart:
    async def test_an_origin(self) -> None:
        assert await refused(shake(origin="http://[")) == (403, "origin_not_allowed")

    async def test_a_target(self) -> None:
        assert (await refused(shake("//[")))[0] in (400, 404)


class TestPath:
    async def test_the_query_reaches_the_endpoint(self) -> None:
        attachment = await admitted(shake("/socket?call_id=1&resume=a%2Bb&seq="))
        assert attachment.query == {"call_id": "1", "resume": "a+b", "seq": ""}

    @pytest.mark.parametrize("target", ["/", "/socket/", "/Socket", "/socket/more", "*", ""])
    async def test_elsewhere_is_nothing(self, target: str) -> None:
        assert await refused(shake(target)) == (404, "not_found")


class TestQuery:
    VALUE = "01234567-89ab-7cde-8f01-23456789abcd"

    @pytest.mark.parametrize("query", [{}, {"device_id": ""}])
    def test_what_is_absent_is_none(self, query: dict[str, str]) -> None:
        assert uuid_of(query, "device_id") is None
        assert position_of(query, "device_id") is None

    def test_an_id_is_a_uuid(self) -> None:
        assert uuid_of({"device_id": self.VALUE}, "device_id") == UUID(self.VALUE)

    @pytest.mark.parametrize("value", ["1", "x" * 36, VALUE + "0", "null", "0123456789", "\ufeff"])
    def test_what_is_none_is_malformed(self, value: str) -> None:
        with pytest.raises(ServiceError, match="device_id") as refusal:
            uuid_of({"device_id": value}, "device_id")
        assert refusal.value.code == "malformed"

    @pytest.mark.parametrize("value", ["0", "1767323045678902", "9007199254740991"])
    def test_a_position_is_a_number(self, value: str) -> None:
        assert position_of({"seq": value}, "seq") == int(value)

    @pytest.mark.parametrize("value", ["-1", "1.0", "1e3", "x", " 1", "+1", "٣", "²", "9" * 17, "0x1"])
    def test_what_is_no_position_is_malformed(self, value: str) -> None:
        with pytest.raises(ServiceError, match="seq") as refusal:
            position_of({"seq": value}, "seq")
        assert refusal.value.code == "malformed"
