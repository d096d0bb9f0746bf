"""What every test shares."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import pytest

SPARE_SECONDS = 5.0


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, the only loop the server knows."""
    return "asyncio"


def pytest_itemcollected(item: pytest.Item) -> None:
    """An asynchronous test that hangs is cancelled a little before pytest-timeout would interrupt it.

    Interrupted from outside it would stay in the loop that it shares with the tests after it, and each of them would fail, too.
    """
    if not isinstance(item, pytest.Function) or not iscoroutinefunction(item.obj) or hasattr(item.obj, "hypothesis"):
        return
    mark = item.get_closest_marker("timeout")
    seconds = float(mark.args[0] if mark is not None else item.config.getini("timeout")) - SPARE_SECONDS
    item.obj = _ending_in_time(item.obj, seconds)


def _ending_in_time(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def bounded(*arguments: Any, **fixtures: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*arguments, **fixtures)

    return bounded
