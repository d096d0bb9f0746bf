"""A client that does not answer pings is gone, for all the server can know. The server of this module asks every second."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.people import World
from tests.fakes.rawsocket import RawSocket
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path_factory.mktemp("data"), PING_SECONDS="1") as server:
        yield server


async def test_silence_is_a_lost_socket(world: World, server: ServerProcess) -> None:
    ada, ben = await world.people("Ada", "Ben")
    conversation_id = await ada.converse(ben)
    lively = await ada.events()
    for _ in range(2):
        silent = await RawSocket.open(server.port, ada.token, "/v1/ws/events")
        _, code = await silent.to_the_end()
        assert code == 4001
        silent.close()
    # Twice as long the other one has said nothing either, but for the pongs that its library sends by itself.
    await ben.write(conversation_id, "still there?")
    await lively.expect("message.created")
