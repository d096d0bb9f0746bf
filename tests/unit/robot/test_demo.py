"""What the demo keeps in its file, and the links it prints."""

from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from secureconnect.ids import DeviceId, UserId
from secureconnect.robot.client import Client
from secureconnect.robot.demo import NAMES, Guest, Person, read_people, write_people
from secureconnect.robot.wire import User
from tests.unit.robot.conftest import FakeClock

PEOPLE = [
    Person(display_name=name, email=f"{name.lower()}+1@example.com", password="a/b c", device_id=DeviceId(UUID(int=1)))
    for name in NAMES
]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "people.json"
    write_people(path, PEOPLE)
    write_people(path, PEOPLE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_people(path) == PEOPLE
    assert [kept.name for kept in path.parent.iterdir()] == ["people.json"]


def test_a_file_that_is_not_ours_is_started_over(tmp_path: Path) -> None:
    assert read_people(tmp_path / "none.json") is None
    (tmp_path / "other.json").write_text('{"people": 3}')
    assert read_people(tmp_path / "other.json") is None
    write_people(tmp_path / "two.json", PEOPLE[:2])
    assert read_people(tmp_path / "two.json") is None


@pytest.mark.anyio
async def test_a_link_survives_any_password(clock: FakeClock) -> None:
    client = Client("http://localhost:9090", httpx2.AsyncClient(), clock=clock)
    guest = Guest(PEOPLE[0], User(user_id=UserId(UUID(int=2)), display_name="Ada", email=PEOPLE[0].email), client)
    assert guest.link == "http://localhost:9090/#email=ada%2B1%40example.com&password=a%2Fb%20c"
