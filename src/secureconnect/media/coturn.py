"""A coturn of our own: what it may do, where it listens, how clients reach it. Run by app as a child, tried by the doctor.

The configuration is hardened: it relays to whom a call may be with, never into the networks behind the server. Debian 12 carries
coturn 4.6.1, which lets IPv4-mapped IPv6 past a list of IPv4 ranges (CVE-2026-27624): the list names those too.
https://github.com/coturn/coturn/blob/master/README.turnserver describes every option.
"""

import errno
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from secureconnect.media.child import Program
from secureconnect.media.ice import TurnServer

PROGRAM = "turnserver"
MAX_BYTES_PER_SECOND = 1_500_000
"""Of one allocation, each way. coturn reserves as much of its capacity for each (`bps-capacity`)."""

FORBIDDEN = (
    "0.0.0.0-0.255.255.255",
    "10.0.0.0-10.255.255.255",
    "100.64.0.0-100.127.255.255",
    "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255",
    "172.16.0.0-172.31.255.255",
    "192.0.0.0-192.0.0.255",
    "192.0.2.0-192.0.2.255",
    "192.88.99.0-192.88.99.255",
    "192.168.0.0-192.168.255.255",
    "198.18.0.0-198.19.255.255",
    "198.51.100.0-198.51.100.255",
    "203.0.113.0-203.0.113.255",
    "224.0.0.0-255.255.255.255",
    "::-::1",
    "::ffff:0.0.0.0-::ffff:255.255.255.255",
    "64:ff9b::-64:ff9b::ffff:ffff",
    "64:ff9b:1::-64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "100::-100::ffff:ffff:ffff:ffff",
    "2001::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
)
"""Where nothing is relayed to: every address that is not a host's on the internet (IANA's special-purpose registries, RFC 6890)."""


@dataclass(frozen=True)
class CoturnOptions:
    """What differs from one coturn to the next.

    `external_ip` is the public address that a NAT maps to `address`, `mbps` what it relays in all, megabits a second each way.
    Credentials made with `former_secret` are accepted too.
    """

    address: str
    secret: str
    port: int = 3478
    tls_port: int = 5349
    external_ip: str | None = None
    realm: str = "secureconnect"
    mbps: int = 12_000
    relay_ports: tuple[int, int] = (49152, 65535)
    certificate: Path | None = None
    key: Path | None = None
    former_secret: str | None = None

    @property
    def has_tls(self) -> bool:
        return self.certificate is not None and self.key is not None


def configuration(options: CoturnOptions, *, log_to: str = "stdout") -> str:
    """The text of turnserver.conf. The relay's own address is allowed, or two who both relay could not meet (coturn#584)."""
    first, last = options.relay_ports
    external = [f"external-ip={options.external_ip}/{options.address}"] if options.external_ip else []
    tls = (
        [f"tls-listening-port={options.tls_port}", f"cert={options.certificate}", f"pkey={options.key}", "no-tlsv1", "no-tlsv1_1"]
        if options.has_tls
        else ["no-tls"]
    )
    secrets = filter(None, (options.secret, options.former_secret))
    lines = [
        "# Where it listens, and from where it relays",
        f"listening-ip={options.address}",
        f"relay-ip={options.address}",
        f"listening-port={options.port}",
        *external,
        f"min-port={first}",
        f"max-port={last}",
        *tls,
        "no-dtls",
        "",
        "# Who may: names that say until when, signed with a secret that SecureConnect knows too",
        "fingerprint",
        "use-auth-secret",
        *(f"static-auth-secret={secret}" for secret in secrets),
        f"realm={options.realm}",
        "stale-nonce=600",
        "",
        "# How much: allocations of one user (each transport to each of the others), of all; bytes a second of one, of all",
        "user-quota=48",
        "total-quota=4800",
        f"max-bps={MAX_BYTES_PER_SECOND}",
        f"bps-capacity={options.mbps * 125_000}",
        "",
        "# What it never does",
        "no-cli",
        "no-multicast-peers",
        "no-tcp-relay",
        "no-rfc5780",
        "no-software-attribute",
        *(f"denied-peer-ip={each}" for each in FORBIDDEN),
        "",
        "# Except: to itself, so that two who both come by it meet",
        f"allowed-peer-ip={options.address}",
        *([f"allowed-peer-ip={options.external_ip}"] if options.external_ip else []),
        "",
        f"log-file={log_to}",
        "simple-log",
    ]
    return "\n".join(lines) + "\n"


def program(options: CoturnOptions) -> Program:
    """What to start. Certificate and key are copied for it: it does not run as a user who could read them."""

    def files(folder: Path) -> dict[str, bytes]:
        kept: dict[str, bytes] = {}
        theirs = options
        if options.certificate is not None and options.key is not None:
            kept = {"certificate.pem": options.certificate.read_bytes(), "key.pem": options.key.read_bytes()}
            theirs = replace(options, certificate=folder / "certificate.pem", key=folder / "key.pem")
        own = f"userdb={folder / 'turndb'}\npidfile={folder / 'pid'}\n"
        return {**kept, "turnserver.conf": (configuration(theirs) + own).encode()}

    return Program(
        name="TURN server",
        arguments=lambda folder: (PROGRAM, "-c", str(folder / "turnserver.conf")),
        files=files,
        address=options.address,
        port=options.port,
    )


def server_at(options: CoturnOptions, host: str | None = None) -> TurnServer:
    """How clients reach it: by `host`, which its certificate is for, or else by its address and without TLS."""
    name = host or options.external_ip or options.address
    shown = f"[{name}]" if ":" in name else name
    urls = [f"turn:{shown}:{options.port}?transport={transport}" for transport in ("udp", "tcp")]
    if options.has_tls and host is not None:
        urls.append(f"turns:{shown}:{options.tls_port}?transport=tcp")
    return TurnServer(urls=urls)


def free_port(address: str, wanted: int) -> int:
    """`wanted` if UDP and TCP are free there, or else one of which both are. Raises OSError when the address is not ours."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in (wanted, *[0] * 20):
        with socket.socket(family, socket.SOCK_STREAM) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                stream.bind((address, port))
                datagram.bind((address, stream.getsockname()[1]))
            except OSError as failure:
                if failure.errno == errno.EADDRNOTAVAIL:
                    raise
            else:
                return int(stream.getsockname()[1])
    raise OSError(errno.EADDRINUSE, f"no port of {address} is free")
