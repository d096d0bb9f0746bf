"""An earlier version of this repository, checked out beside it with an environment of its own.

`python3 -m tests.upgrade.checkout REVISION FOLDER` makes one, outside of the tests' namespace, which has no package index.
"""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
INSTALL_SECONDS = 600


class Checkout:
    """The files of one commit in a folder, and the interpreter that runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def python(self) -> str:
        """Path of the interpreter in which this version is installed."""
        return str(self.folder / ".venv/bin/python")


def check_out(revision: str, folder: Path) -> Checkout:
    """Write the files of a commit into a folder and install them as locked.

    Raises subprocess.CalledProcessError when the commit does not exist or cannot be installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(("git", "archive", revision), cwd=REPOSITORY, check=True, capture_output=True).stdout
    subprocess.run(("tar", "-x", "-C", str(folder)), input=archive, check=True)
    install = (sys.executable, "-m", "uv", "sync", "--frozen", "--quiet", "--compile-bytecode", "--python", sys.executable)
    subprocess.run(install, cwd=folder, check=True, timeout=INSTALL_SECONDS)
    return Checkout(folder)


if __name__ == "__main__":
    check_out(sys.argv[1], Path(sys.argv[2]))
