"""A Janus of our own: what it loads, where it listens, which ports media takes. Run by app as a child, tried by the doctor.

The configuration is hardened: only VideoRoom and WebSockets are loaded, the API is a Unix socket behind a secret, and clients
meet only the UDP ports of their media. The process runs in a sandbox (sandbox.py).
https://janus.conf.meetecho.com/docs/deploy and the comments in Janus' own sample files describe every option.
"""

import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secureconnect.media.child import Program
from secureconnect.media.janus_bundle import JANUS, find_bundle, parse_version
from secureconnect.sandbox import Sandbox

SOCKET = "api.sock"
PLUGIN = "libjanus_videoroom.so"
TRANSPORT = "libjanus_websockets.so"
LIBRARIES = ("/usr/lib/*/janus", "/usr/lib/janus", "/usr/local/lib/janus", "/usr/local/lib/*/janus", "/opt/janus/lib/janus")
"""Where packages and builds put Janus' plugins: Debian below its architecture's name, a build of one's own below its prefix."""
LOADERS = ("lib64/ld-linux*.so*", "lib/ld-linux*.so*")
SYSTEM_LIBRARIES = ("/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache")
DEVICES = ("/dev/urandom", "/dev/null")
VERSION_SECONDS = 10.0
SESSION_SECONDS = 60
"""A Janus session that nobody has asked anything for so long is gone: its node hangs, and the call has been taken elsewhere."""
RECLAIM_SECONDS = 60
"""How long a session outlives the connection of the node that made it: longer than the grace of a call's session."""
PROTECTED = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var")


@dataclass(frozen=True)
class JanusOptions:
    """What differs from one Janus to the next. `external_ip` is the public address that a NAT maps to `address`.

    `folder` is where it runs, with its configuration and the socket of its API: made at the start, removed at the end.
    Media goes by `address`, and by those of `beside` for clients in networks from which it cannot be reached. `recordings` is the
    folder that it writes recordings to.
    """

    address: str
    secret: str
    folder: Path
    media_ports: tuple[int, int] = (20000, 21999)
    external_ip: str | None = None
    beside: tuple[str, ...] = ()
    recordings: Path | None = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """The addresses that clients are offered."""
        return self.external_ip or self.address, *self.beside


@dataclass(frozen=True)
class JanusProgram:
    """An installed Janus: what starts it, the folder above its plugins and transports, its version such as (1, 4, 1).

    It reads what is below `readable`, and its start executes `executable`.
    """

    command: tuple[str, ...]
    libraries: Path
    version: tuple[int, ...]
    readable: tuple[str, ...]
    executable: tuple[str, ...]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version)) or "of an unknown version"


def find_program() -> JanusProgram | None:
    """The Janus of `secureconnect sfu install`, or else the one that the machine has; None without any."""
    bundle = find_bundle()
    if bundle is not None:
        command, folder = bundle.command(JANUS), str(bundle.folder)
        return JanusProgram(command, bundle.folder, bundle.version, readable=(folder,), executable=(command[0],))
    path, libraries = shutil.which(JANUS), library_folder()
    if path is None or libraries is None:
        return None
    loaders = tuple(str(loader) for pattern in LOADERS for loader in Path("/").glob(pattern))
    readable = (*SYSTEM_LIBRARIES, str(libraries), path)
    return JanusProgram((path,), libraries, ask_version(path), readable, (path, *loaders))


def ask_version(path: str) -> tuple[int, ...]:
    """The version that a Janus says it has; empty when it does not say."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ()
    # Janus version: 1401 (1.4.1)
    said = re.search(r"^Janus version: \d+ \(([0-9.]+)\)", done.stdout, re.MULTILINE)
    return parse_version(said[1]) if said else ()


def library_folder() -> Path | None:
    """Where the Janus of the machine keeps its plugins; None when they are nowhere to be found."""
    for pattern in LIBRARIES:
        for folder in sorted(Path("/").glob(pattern.removeprefix("/"))):
            if (folder / "plugins" / PLUGIN).exists() and (folder / "transports" / TRANSPORT).exists():
                return folder
    return None


def configuration(options: JanusOptions, host: str | None = None, port: int = 8188) -> dict[str, bytes]:
    """The three files of the configuration folder, by name. The API listens at `host` and `port`, or else at a Unix socket."""
    listen = f'ws_unix = "{options.folder}/{SOCKET}"' if host is None else f'ws_ip = "{host}"\n    ws_port = {port}'
    return {
        "janus.jcfg": _general(options).encode(),
        "janus.transport.websockets.jcfg": _websockets(listen).encode(),
        "janus.plugin.videoroom.jcfg": _videoroom(options.secret).encode(),
    }


def _general(options: JanusOptions) -> str:
    folder = options.folder
    first, last = options.media_ports
    protected = ", ".join(f'"{each}"' for each in PROTECTED if not str(options.recordings or "").startswith(each))
    external = f'    nat_1_1_mapping = "{options.external_ip}"\n' if options.external_ip else ""
    return f"""general: {{
    # What is loaded: one plugin, one transport
    configs_folder = "{folder}"
    plugins_folder = "{folder}/plugins"
    transports_folder = "{folder}/transports"
    events_folder = "{folder}/none"
    loggers_folder = "{folder}/none"

    # Who may
    api_secret = "{options.secret}"
    hide_dependencies = true
    protected_folders = [{protected}]

    # How long a session lives that nobody asks for, and one whose node is gone: until another claims it
    session_timeout = {SESSION_SECONDS}
    reclaim_session_timeout = {RECLAIM_SECONDS}

    # A recording that is still being written says so by its name
    recordings_tmp_ext = "tmp"

    # In overload it would write a line for each late packet
    debug_level = 2
    debug_colors = false
    debug_timestamps = true
}}
media: {{
    ipv6 = false
    rtp_port_range = "{first}-{last}"
    no_media_timer = 2
}}
nat: {{
    # By what is named here alone: a list that matches nothing would let it offer every address there is
    ice_enforce_list = "{",".join((options.address, *options.beside))}"
{external}}}
"""


def _websockets(listen: str) -> str:
    return f"""general: {{
    json = "compact"
    ws = true
    {listen}
    wss = false
    pingpong_trigger = 10
    pingpong_timeout = 5
}}
admin: {{
    admin_ws = false
    admin_wss = false
}}
"""


def _videoroom(secret: str) -> str:
    return f"""general: {{
    # Only who knows this makes rooms
    admin_key = "{secret}"
    lock_rtp_forward = true
    string_ids = true
}}
"""


def program(options: JanusOptions, janus: JanusProgram) -> Program:
    """What to start for these options."""

    def links(_folder: Path) -> Mapping[str, Path]:
        return {
            f"plugins/{PLUGIN}": janus.libraries / "plugins" / PLUGIN,
            f"transports/{TRANSPORT}": janus.libraries / "transports" / TRANSPORT,
        }

    def sandbox(folder: Path) -> Sandbox:
        written = (str(options.recordings),) if options.recordings is not None else ()
        return Sandbox(readable=(*janus.readable, *DEVICES), writable=(str(folder), *written), executable=janus.executable)

    return Program(
        name="SFU",
        arguments=lambda folder: (*janus.command, "-F", str(folder)),
        files=lambda folder: configuration(options),
        links=links,
        socket=SOCKET,
        folder=options.folder,
        writes_to=options.recordings,
        sandbox=sandbox,
    )


def new_folder() -> Path:
    """A folder for one that runs as our child, not made yet. Short: the path of a Unix socket has 107 bytes at most (unix(7))."""
    return Path(tempfile.gettempdir()) / f"secureconnect-janus-{secrets.token_hex(8)}"


def url_of(options: JanusOptions) -> str:
    """Where its API answers."""
    return f"unix:{options.folder}/{SOCKET}"
