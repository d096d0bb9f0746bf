"""The load driver behind `secureconnect bench`: what a server costs and how it holds, measured from outside.

Called by cli and by bench/. Talks to a server only as a client does, over HTTP and sockets, so that it measures any deployment;
it must not import the server's own parts, or it would share their mistakes. Run it on uvloop: a driver slower than the
server measures itself.
"""

from secureconnect.load.calls import run_calls
from secureconnect.load.connections import run_connections
from secureconnect.load.initiates import run_initiates
from secureconnect.load.options import CallsOptions, ConnectionsOptions, InitiatesOptions, Options, RelayOptions
from secureconnect.load.relay import run_relay
from secureconnect.load.report import Case, Report
from secureconnect.load.rest import LoadError

__all__ = [
    "CallsOptions",
    "Case",
    "ConnectionsOptions",
    "InitiatesOptions",
    "LoadError",
    "Options",
    "RelayOptions",
    "Report",
    "run_calls",
    "run_connections",
    "run_initiates",
    "run_relay",
]
