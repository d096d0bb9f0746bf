"""What a run is asked to do. Made by cli and bench/; read by the runs; holds no behaviour."""

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What every run needs to know about the server."""

    url: str | None = None
    """Origin of the server, `http://host:port`; None starts one on this machine for the time of the run."""
    secret: str | None = None
    """The server's shared HS256 secret: people are then minted here, which spares a password hash each. None registers them."""
    server_pid: int | None = None
    """Process id of a server given by `url` that runs on this machine, so that its CPU and memory can be read."""
    pin: bool = True
    """Keep a server started here on one core and the driver on another, where there are two."""


class RelayOptions(Options, frozen=True, kw_only=True):
    """Two people a call, both sending at once."""

    pairs: int = 50
    window: int = 16
    """Closed loop: messages a sender keeps under way. Few leave the server waiting, and each then costs a wake-up of its own."""
    sizes: tuple[int, ...] = (300, 4096)
    """Bytes of a message as the sender writes it: up to 1023 an ICE candidate, above an SDP offer."""
    seconds: float = 5.0
    warm_up: float = 1.0
    rate: float | None = None
    """Open loop: messages a second in all; None takes half of what the closed loop reached."""


class ConnectionsOptions(Options, frozen=True, kw_only=True):
    """Many sockets with nothing to say."""

    sockets: int = 20_000
    people: int = 500
    """How many users the sockets are spread over."""
    opening: int = 64
    """Handshakes under way at once."""
    hold_seconds: float = 45.0
    """How long they stay; two pings of the server fit into the default."""


class CallsOptions(Options, frozen=True, kw_only=True):
    """Whole calls, from ringing to the end."""

    pairs: int = 50
    """Pairs of people who call each other, so calls at once."""
    seconds: float = 10.0
    rate: float | None = None
    """Calls begun a second; None begins the next as soon as a pair is free."""
    candidates: int = 4
    """ICE candidates each side sends."""


class InitiatesOptions(Options, frozen=True, kw_only=True):
    """Rings alone: nobody answers."""

    pairs: int = 50
    """Pairs of people, so rings begun at once."""
    seconds: float = 10.0
    rate: float | None = None
    """Rings begun a second; None begins the next as soon as a pair is free."""
