"""Who gets into the page: registration as the server allows it, invitations, demo links, and names of every script."""

import asyncio
import os
import sys
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Page

from tests.browser.pages import LAPTOP, PASSWORD, PersonPage, chromium, converse, register
from tests.browser.test_call import PICTURES
from tests.browser.test_demo import demo
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio

PATIENCE_MS = 20_000


async def users(server: ServerProcess, *words: str) -> str:
    """Run `secureconnect users` on the server's data; what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SECURECONNECT_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "secureconnect", "users", *words, "--data-dir", str(server.data_dir)),
        env=environment | {"SECURECONNECT_PORT": str(server.port)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode().strip()


async def fill(page: Page, **values: str) -> None:
    for name, value in values.items():
        await page.get_by_test_id(f"sign-in-{name}").fill(value)
    await page.get_by_test_id("sign-in-submit").click()


async def test_a_server_without_registration_offers_none(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data", REGISTRATION="off") as server, chromium() as browser:
        page = await (await browser.new_context(viewport=LAPTOP, locale="vi-VN")).new_page()
        await page.goto(server.url)
        await page.get_by_test_id("registration-closed").wait_for()
        assert "người quản trị" in await page.get_by_test_id("registration-closed").inner_text()
        assert await page.get_by_test_id("register-toggle").is_hidden()
        link = await users(server, "create", "ada@example.com", "--name", "Ada")
        body = {"token": link.partition("#reset=")[2], "new_password": PASSWORD}
        async with httpx2.AsyncClient() as http:
            assert (await http.post(f"{server.url}/v1/auth/password/reset", json=body)).status_code == 200
        await fill(page, email="ada@example.com", password=PASSWORD)
        assert await page.get_by_test_id("own-name").inner_text() == "Ada"


async def test_an_invitation_opens_the_form_once(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data", REGISTRATION="invited") as server, chromium() as browser:
        link = await users(server, "invite")
        assert link.startswith(server.url + "/#invitation=")
        page = await (await browser.new_context(viewport=LAPTOP, locale="en-GB")).new_page()
        await page.goto(server.url)
        assert "invitation link" in await page.get_by_test_id("registration-closed").inner_text()
        for email, expected in (("ada@example.com", "own-name"), ("eve@example.com", "sign-in-submit")):
            page = await (await browser.new_context(viewport=LAPTOP, locale="en-GB")).new_page()
            await page.goto(link)
            await page.get_by_test_id("sign-in-name").wait_for()
            assert "invitation" not in page.url
            await fill(page, name="Ada", email=email, password=PASSWORD)
            await page.get_by_test_id(expected).wait_for()
        await page.get_by_text("This invitation was used or has expired.").wait_for()


async def test_a_link_signs_no_one_in_outside_a_demo(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, httpx2.AsyncClient() as http, chromium() as browser:
        ada, eve = [await register(http, server.url, name) for name in ("Ada", "Eve")]
        person = PersonPage(await (await browser.new_context(viewport=LAPTOP)).new_page(), ada, PICTURES)
        await person.page.goto(eve.link)
        await person.see("sign-in-submit")
        assert "password" not in person.page.url
        await person.sign_in()
        assert await person.one("own-name").inner_text() == "Ada"
        for page in (person.page, await person.page.context.new_page()):
            await page.goto("about:blank")
            await page.goto(eve.link)
            assert await page.get_by_test_id("own-name").inner_text() == "Ada"


async def test_a_demo_link_asks_before_it_replaces_a_sign_in(tmp_path: Path) -> None:
    async with demo(tmp_path) as link, httpx2.AsyncClient() as http, chromium() as browser:
        url = link.partition("/#")[0]
        eve = await register(http, url, "Eve")
        page = await (await browser.new_context(viewport=LAPTOP, locale="en-GB")).new_page()
        await page.goto(link)
        assert await page.get_by_test_id("own-name").inner_text() == "Ada"
        for answer, name in (("switch-no", "Ada"), ("switch-yes", "Eve")):
            await page.goto("about:blank")
            await page.goto(eve.link)
            await page.get_by_test_id("switch-account").wait_for()
            await page.get_by_test_id(answer).click()
            await page.get_by_test_id("own-name").wait_for()
            assert await page.get_by_test_id("own-name").inner_text() == name


async def test_names_keep_their_direction_to_themselves(tmp_path: Path) -> None:
    names = ("Nguyễn Thị Ánh", "דנה כהן", "محمد 👩‍👩‍👧‍👦")
    async with ServerProcess(tmp_path / "data") as server, httpx2.AsyncClient() as http, chromium() as browser:
        accounts = [await register(http, server.url, f"Person{number}") for number in range(3)]
        people = []
        for number, name in enumerate(names):
            account = {"email": f"{number}@example.com", "password": PASSWORD, "display_name": name}
            people.append((await http.post(f"{server.url}/v1/auth/register", json=account)).json()["user"])
        body = {"participant_ids": [person["user_id"] for person in people]}
        await http.post(f"{server.url}/v1/conversations", json=body, headers=accounts[0].headers)
        person = await PersonPage.open(browser, accounts[0], PICTURES)
        title = await person.page.locator(".conversation-title").first.text_content()
        assert title == "Nguyễn Thị Ánh, \u2068דנה כהן\u2069, and \u2068محمد 👩‍👩‍👧‍👦\u2069"
        await person.press("conversation-item")
        assert await person.page.locator(".thread-title h2 bdi").text_content() == title
        await converse(http, accounts[1], accounts[0])
        assert person.faults == []
