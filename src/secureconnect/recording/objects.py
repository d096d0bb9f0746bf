"""Where films are kept: a folder, or a bucket of S3. The one file that knows the library.

Made by `recorder`, used by `recording.desk` and `recording.service`, tried by the doctor.
https://developmentseed.org/obstore/latest/ describes the library; it finds S3's address and keys where Amazon's own tools do:
`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # of its stubs alone

CHUNK_BYTES = 262_144
PATIENCE: "ClientConfig" = {"allow_http": True, "timeout": timedelta(seconds=60)}
"""A server of one's own, in one's own network, may do without TLS; Amazon's never does."""
RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
"""A film that could not be put there is tried again anyway, and somebody may wait for a link."""


class ObjectsUnavailable(Exception):
    """The store does not answer, or refuses; the message says why, on one line."""


class NoSuchObject(Exception):
    """There is nothing of this name."""


def fault_of(url: str) -> str | None:
    """What is wrong with an address of a store, None when nothing is."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and parts.path != "/":
        return None
    if parts.scheme == "s3" and parts.netloc:
        return None
    return f"must be file:///a/folder or s3://bucket/prefix, not {url!r}"


class ObjectStore:
    """Films by name. Raises ObjectsUnavailable when the store cannot be used."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.is_folder = parts.scheme == "file"
        self._store: LocalStore | S3Store
        with _explained():
            if self.is_folder:
                self._store = LocalStore(Path(unquote(parts.path)), automatic_cleanup=True, mkdir=True)
            else:
                self._store = S3Store.from_url(url, client_options=PATIENCE, retry_config=RETRIES)

    async def put(self, name: str, path: Path, content_type: str) -> None:
        """Keep the file at `path` under `name`; what had that name is replaced."""
        attributes = None if self.is_folder else {"Content-Type": content_type, "Content-Disposition": "attachment"}
        with _explained():
            await obstore.put_async(self._store, name, path, attributes=attributes)

    async def delete(self, name: str) -> None:
        """Keep it no longer. Nothing of this name is as good."""
        with _explained(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, name)

    async def link(self, name: str, life: timedelta) -> str:
        """A link of the store's own, which anybody can use for so long. Not of a folder."""
        assert isinstance(self._store, S3Store)
        with _explained():
            return await obstore.sign_async(self._store, "GET", name, life)

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, in pieces. Raises NoSuchObject."""
        with _explained():
            found = await obstore.get_async(self._store, name, options={"range": (start, end)})
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    async def ping(self) -> None:
        """Write, and take it back: what a film will need."""
        with _explained():
            await obstore.put_async(self._store, PROBE, b"can this be written?")
            await obstore.delete_async(self._store, PROBE)


PROBE = "secureconnect-probe"


class _explained:  # noqa: N801  (it reads as a word)
    """What goes wrong with the store, in the words of this module."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, failure: BaseException | None, _trace: object) -> None:
        if isinstance(failure, FileNotFoundError):
            raise NoSuchObject from None
        if isinstance(failure, BaseError | OSError):
            raise ObjectsUnavailable((str(failure).strip().splitlines() or ["no reason given"])[0][:200]) from None
