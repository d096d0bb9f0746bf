"""Where topics live: the servers that a bus URL leads to, which of them holds a topic, and connections to them. Used by the bus.

The client library finds the servers (a cluster's map of hash slots, the sentinels' master) and follows redirections of reads. What
is published and heard goes over connections of our own, one of each a server: the library's pub/sub for clusters asks its
connections in turn, and its pipelines for clusters wait for all servers when one is slow.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisClusterException, ResponseError

from secureconnect.bus.address import Address, address_of
from secureconnect.bus.redis.cancellation import heeding
from secureconnect.bus.redis.scripts import PROBE, PROBE_SECONDS
from secureconnect.bus.redis.topics import slot_of

T = TypeVar("T")
COMMAND_SECONDS = 5.0
"""How long a command may take before its server counts as away."""
SENTINEL_SECONDS = 1.0
SLOTS = 16_384
ONLY = "the server"
"""The name of the place when there is one."""

# Whoever asks decides whether to ask again. RESP2: with RESP3 the library keeps what is pushed to itself.
COMMANDS: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2}
# A listener waits for hours, and a batch has a limit of its own: one for each command costs a task each.
STREAMS: dict[str, Any] = COMMANDS | {"socket_timeout": None, "socket_connect_timeout": COMMAND_SECONDS}


class Server(NamedTuple):
    """Who answers at a place: its run id, and whether it is a master."""

    run_id: str
    is_master: bool


class Places(Protocol):
    """The servers of a bus. A place is named by its address, which does not change; who lives there does."""

    def names(self) -> Sequence[str]:
        """All places; none while they are not known yet."""
        ...

    def of(self, topic: str) -> str:
        """The place of a topic; empty when it is not known."""
        ...

    def connection(self, name: str) -> Connection:
        """A new connection to a place, not yet connected."""
        ...

    async def refresh(self) -> bool:
        """Find out anew; True when something has moved. Raises RedisError, OSError or TimeoutError when nobody knows."""
        ...

    def adopt(self) -> None:
        """From now on answer with what `refresh` found."""
        ...

    async def eval(self, script: str, *arguments: str | bytes | int) -> Any:
        """Run a script where its keys are, wherever that is by now."""
        ...

    async def ping(self, publisher: str) -> None:
        """Write something at every place, under the name of a node. Raises RedisError, OSError or TimeoutError."""
        ...

    async def identify(self, name: str) -> "Server":
        """Ask who answers at a place now. Raises RedisError, OSError or TimeoutError."""
        ...

    async def reset(self) -> None:
        """Let go of connections of which no one waits for an answer: the next command makes a new one."""
        ...

    async def aclose(self) -> None: ...


class OnePlace:
    """One server, at one address or wherever the sentinels say."""

    def __init__(self, address: Address, seconds: float) -> None:
        commands = COMMANDS | {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        self._sentinel: Sentinel | None = None
        self._streams: ConnectionPool
        if address.kind == "sentinel":
            options = {"socket_timeout": min(seconds, SENTINEL_SECONDS), "protocol": 2, **address.sentinel_options}
            tls = {key: value for key, value in _options(address).items() if key == "ssl" or key.startswith("ssl_")}
            self._sentinel = Sentinel(address.servers, sentinel_kwargs=options | tls)  # type: ignore[no-untyped-call]
            self._client = self._sentinel.master_for(address.master, **_options(address), **commands)
            streams = _options(address) | STREAMS
            self._streams = SentinelConnectionPool(address.master, self._sentinel, **streams)  # type: ignore[no-untyped-call]
        else:
            url = address.url_of(*address.servers[0])
            self._client = Redis.from_url(url, **commands)
            self._streams = ConnectionPool.from_url(url, **STREAMS)

    def names(self) -> Sequence[str]:
        return (ONLY,)

    def of(self, topic: str) -> str:
        return ONLY

    def connection(self, name: str) -> Connection:
        made: Connection = self._streams.make_connection()  # type: ignore[no-untyped-call]
        return made

    async def refresh(self) -> bool:
        return False

    def adopt(self) -> None:
        """There is nothing to find."""

    async def eval(self, script: str, *arguments: str | bytes | int) -> Any:
        try:
            return await heeding(self._client.execute_command("EVAL", script, *arguments))
        except ResponseError:
            await self.reset()  # the server may be the wrong one by now
            raise

    async def ping(self, publisher: str) -> None:
        await self.eval(PROBE, 1, f"probe:{publisher}", PROBE_SECONDS)

    async def identify(self, name: str) -> Server:
        return _server_of(await heeding(self._client.execute_command("INFO")))

    async def reset(self) -> None:
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


class ClusterPlaces:
    """The masters of a cluster."""

    def __init__(self, address: Address, seconds: float) -> None:
        self._address = address
        nodes = [ClusterNode(host, port) for host, port in address.servers]
        # One attempt to follow a redirection; a part of the slots without a master must not take the others along.
        options = COMMANDS | {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": Retry(NoBackoff(), 1)}
        self._client = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **_options(address), **options)
        self._by_slot: list[str] = []
        self._servers: dict[str, tuple[str, int]] = {}
        self._found = self._by_slot, self._servers

    def names(self) -> Sequence[str]:
        return tuple(self._servers)

    def of(self, topic: str) -> str:
        return self._by_slot[slot_of(topic)] if self._by_slot else ""

    def connection(self, name: str) -> Connection:
        host, port = self._servers[name]
        pool: ConnectionPool = ConnectionPool.from_url(self._address.url_of(host, port), **STREAMS)
        made: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    async def refresh(self) -> bool:
        async with asyncio.timeout(COMMAND_SECONDS):
            known = self._client.nodes_manager.initialize() if self._by_slot else self._client.initialize()
            await _known(known)
        cache = self._client.nodes_manager.slots_cache
        masters = {slot: nodes[0] for slot, nodes in cache.items() if nodes}
        by_slot = [masters[slot].name if slot in masters else "" for slot in range(SLOTS)]
        self._found = by_slot, {node.name: (node.host, int(node.port)) for node in masters.values()}
        return by_slot != self._by_slot

    def adopt(self) -> None:
        self._by_slot, self._servers = self._found

    async def eval(self, script: str, *arguments: str | bytes | int) -> Any:
        return await _known(self._client.execute_command("EVAL", script, *arguments))

    async def ping(self, publisher: str) -> None:
        keys: dict[str, str] = {}
        for number in range(64 * max(1, len(self._servers))):  # a key for every master: a cluster tells by the key who holds it
            key = f"probe:{publisher}:{number}"
            keys.setdefault(self.of(key), key)
            if len(keys) >= len(self._servers):
                break
        await asyncio.gather(*(self.eval(PROBE, 1, key, PROBE_SECONDS) for key in keys.values()))
        await _known(self._client.execute_command("PING", target_nodes=RedisCluster.PRIMARIES))

    async def identify(self, name: str) -> Server:
        node = self._client.get_node(node_name=name)
        return _server_of(await _known(self._client.execute_command("INFO", target_nodes=node)))

    async def reset(self) -> None:
        """The library follows what a cluster says of itself."""

    async def aclose(self) -> None:
        await self._client.aclose()


async def _known(work: Awaitable[T]) -> T:
    """`work`; what the library raises for a whole cluster becomes a connection's error, among which it does not count it."""
    try:
        return await heeding(work)
    except RedisClusterException as failure:
        raise RedisConnectionError(str(failure)) from failure


async def connect(connection: Connection) -> str:
    """Connect to a server that takes writes. Returns its run id; raises RedisError, OSError or TimeoutError."""
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_command("INFO")
    information: bytes = await connection.read_response()
    found = dict(line.split(":", 1) for line in information.decode(errors="replace").split("\r\n") if ":" in line)
    if found.get("role", "master") != "master":
        await connection.disconnect(nowait=True)
        raise ReadOnlyError("this server is a replica")
    return found["run_id"]


def places_of(url: str, seconds: float = COMMAND_SECONDS) -> Places:
    """`seconds` is how long a command may take. Raises ValueError for a URL that names no servers."""
    address = address_of(url)
    return ClusterPlaces(address, seconds) if address.kind == "cluster" else OnePlace(address, seconds)


def _server_of(information: dict[str, Any]) -> Server:
    return Server(str(information["run_id"]), information["role"] == "master")


def _options(address: Address) -> dict[str, Any]:
    """What the URL says beside its servers, as the client library takes it."""
    options: dict[str, Any] = dict(parse_url(address.url_of("localhost", 1)))
    for server in ("host", "port"):
        options.pop(server, None)
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    return options
