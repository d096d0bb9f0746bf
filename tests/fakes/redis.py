"""A real Redis on a free loopback port, which a test may stop and start again. Debian's package, nothing kept on disk."""

import shutil
import signal
import socket
import subprocess
import time

BINARY = "redis-server"
START_SECONDS = 10.0


class RedisServer:
    """One server. The port stays the same from one start to the next; what it held does not."""

    def __init__(self) -> None:
        if shutil.which(BINARY) is None:
            raise RuntimeError("redis-server is not installed: run tests/engines")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it answers."""
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"]
        self._process = subprocess.Popen([BINARY, *settings], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it hang: it keeps its connections and answers nobody, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """What it answers to one command."""
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=True).stdout

    def _answers(self) -> bool:
        return subprocess.run(["redis-cli", "-p", str(self.port), "PING"], capture_output=True, check=False).stdout == b"PONG\n"
