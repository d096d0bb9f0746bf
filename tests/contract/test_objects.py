"""What recordings rely on in a store of films, held against a folder and against a server that speaks S3."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from secureconnect.recording.objects import NoSuchObject, ObjectStore, ObjectsUnavailable, fault_of
from tests.fakes.ports import free_port
from tests.fakes.s3 import BUCKET, S3

pytestmark = pytest.mark.anyio
LENGTH = 11_000_000
"""More than one part of an upload in parts."""
CONTENT = bytes(range(250)) * (LENGTH // 250)


@pytest.fixture(scope="module")
async def s3() -> AsyncIterator[S3]:
    async with S3() as s3:
        yield s3


def store_of(s3: S3, monkeypatch: pytest.MonkeyPatch, **other: str) -> ObjectStore:
    """A place there of its own."""
    for name, value in (s3.environment_of_clients | other).items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://{BUCKET}/{uuid4()}")


@pytest.fixture(params=["folder", "S3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3) -> ObjectStore:
    if request.param == "folder":
        return ObjectStore((tmp_path / "a folder" / "films").as_uri())
    return store_of(s3, monkeypatch)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.mp4"
    path.write_bytes(b"another")
    return path


async def read(objects: ObjectStore, name: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in objects.read(name, start, end)])


async def test_what_was_put_is_read_whole_and_in_parts(objects: ObjectStore, film: Path) -> None:
    await objects.put("a call/a film.mp4", film, "video/mp4")
    assert await read(objects, "a call/a film.mp4", 0, LENGTH) == CONTENT
    assert await read(objects, "a call/a film.mp4", 249, 252) == b"\xf9\x00\x01"


async def test_what_is_put_again_is_replaced(objects: ObjectStore, film: Path, short: Path) -> None:
    await objects.put("one.mp4", film, "video/mp4")
    await objects.put("one.mp4", short, "video/mp4")
    assert await read(objects, "one.mp4", 0, 7) == b"another"


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(objects: ObjectStore, film: Path) -> None:
    await objects.put("one.mp4", film, "video/mp4")
    await objects.delete("one.mp4")
    await objects.delete("one.mp4")
    with pytest.raises(NoSuchObject):
        await read(objects, "one.mp4", 0, 1)


async def test_it_can_be_asked_whether_it_would_take_a_film(objects: ObjectStore) -> None:
    await objects.ping()


async def test_a_link_of_s3_needs_no_key_and_serves_ranges(s3: S3, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = store_of(s3, monkeypatch)
    await objects.put("one.mp4", film, "video/mp4")
    link = await objects.link("one.mp4", timedelta(minutes=5))
    async with httpx2.AsyncClient(trust_env=False) as http:
        part = await http.get(link, headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"\x01\x02\x03")
    assert part.headers["content-type"] == "video/mp4"


async def test_a_server_that_does_not_answer_is_named(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = store_of(s3, monkeypatch, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ObjectsUnavailable):
        await objects.ping()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "films").write_text("a file")
    with pytest.raises(ObjectsUnavailable, match="exists"):
        ObjectStore((tmp_path / "films").as_uri())


@pytest.mark.parametrize("url", ["films", "/srv/films", "file://films", "file:///", "https://films.example", "s3:///films"])
def test_what_is_no_store_is_refused(url: str) -> None:
    assert fault_of(url) is not None
