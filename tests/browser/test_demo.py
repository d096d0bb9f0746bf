"""What `make run` promises: links that sign in, and a robot that answers; and the same call without anybody looking."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.browser.pages import LAPTOP, Account, PersonPage, chromium
from tests.browser.test_call import PICTURES

pytestmark = [pytest.mark.anyio, pytest.mark.media]

START_SECONDS = 60.0
LINK = re.compile(r"http://localhost:(\d+)/#email=(\S+?)&password=(\S+)")


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SECURECONNECT_")} | {"COLUMNS": "160"}


@asynccontextmanager
async def demo(data_dir: Path) -> AsyncIterator[str]:
    """`secureconnect demo`, with what it printed: the link for the first person."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "secureconnect", "demo", "--port", "0", "--data-dir", str(data_dir)),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stdout:
                found = LINK.search(line.decode())
                if found:
                    yield found.group()
                    break
            else:
                pytest.fail("the demo printed no link")
    finally:
        process.terminate()
        await process.wait()


async def test_echo_answers_a_call_from_the_page(tmp_path: Path) -> None:
    async with demo(tmp_path) as link, chromium() as browser:
        context = await browser.new_context(viewport=LAPTOP, permissions=["camera", "microphone"], locale="en-GB")
        nobody = Account("", {"user": {"email": "", "user_id": "", "display_name": "demo"}, "access_token": ""})
        person = PersonPage(await context.new_page(), nobody, PICTURES)
        await person.page.goto(link)
        await person.page.get_by_test_id("conversation-item").filter(has_text="Echo").first.click()
        await person.press("call-video")
        await person.press("join-now")
        await person.see("stage")
        await person.watches_and_listens(frames=30, packets=100)
        await person.picture("echo")
        await person.press("leave")
        await person.see("after-call")
        assert person.faults == []


async def test_two_robots_hear_and_see_each_other(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "secureconnect", "demo", "--headless", "--port", "0", "--data-dir", str(tmp_path)),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert "Both heard and saw each other" in printed.decode()
