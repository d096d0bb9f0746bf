"""What a bus URL says: one Redis, the masters of a cluster, or the master that sentinels know. Pure.

    redis://[user:password@]host:port[/db]                          one server
    redis+cluster://[user:password@]host:port,host:port             any of the cluster's nodes
    redis+sentinel://[user:password@]host:port,host:port/master     the sentinels, and what they call the master

`rediss` in place of `redis` is TLS. What follows `?` goes to the client library as it is (`ssl_ca_certs=…`), except
`sentinel_username` and `sentinel_password`, for sentinels that want their own.
"""

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
DEFAULT_PORTS = {"": 6379, "cluster": 6379, "sentinel": 26379}


class Address(NamedTuple):
    """A bus URL, taken apart. `kind` is empty for one server, else `cluster` or `sentinel`."""

    kind: str
    scheme: str
    credentials: str
    servers: list[tuple[str, int]]
    master: str
    database: str
    query: str
    sentinel_options: dict[str, str]

    def url_of(self, host: str, port: int) -> str:
        """The same for one server: what the client library takes."""
        host = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{self.credentials}{host}:{port}/{self.database}{self.query}"


def address_of(url: str) -> Address:
    """Raises ValueError, with a sentence for whoever wrote the URL."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if parts.scheme not in SCHEMES:
        raise ValueError(f"there is no bus for {parts.scheme}://")
    credentials, at, hosts = parts.netloc.rpartition("@")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    sentinel_options = {name: options.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in options}
    path = parts.path.strip("/")
    master = ""
    if kind == "sentinel":
        master, _, path = path.partition("/")
        if not master:
            raise ValueError(f"{parts.scheme}:// needs the master's name: {parts.scheme}://host:26379/mymaster")
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError(f"{parts.scheme}:// has one database: leave /{path} out")
    servers = [_server(one, DEFAULT_PORTS[kind]) for one in hosts.split(",")]
    if not kind and len(servers) > 1:
        raise ValueError(f"{parts.scheme}:// names one server; several are {scheme}+cluster:// or {scheme}+sentinel://")
    query = f"?{urlencode(options)}" if options else ""
    return Address(kind, scheme, credentials + at, servers, unquote(master), path, query, sentinel_options)


def _server(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.strip().rpartition(":") if not text.strip().endswith("]") else (text.strip(), "", "")
    if not colon:
        host, port = text.strip(), str(default_port)
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"'{text}' is not host:port")
    return host.strip("[]") or "localhost", int(port)
