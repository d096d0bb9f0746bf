"""The account in the web client: a new password, a one-time link, signing out everywhere."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, Page

from tests.browser.pages import LAPTOP, PASSWORD, Account, PersonPage, chromium, converse, register
from tests.browser.test_call import PICTURES
from tests.fakes.server import SECRET, ServerProcess
from tests.scenario.test_accounts import Place

pytestmark = [pytest.mark.anyio, pytest.mark.media]

NEW = "another horse battery"


async def fill(page: Page, **fields: str) -> None:
    """Fill in the fields of a form by their test ids, and send it."""
    for test_id, value in fields.items():
        await page.get_by_test_id(test_id.replace("_", "-")).fill(value)
    await page.get_by_test_id("save-password").click()


async def signed_out(person: PersonPage) -> None:
    """Wait until a page says that its sign-in has ended; it asks the server something now and then, here at once."""
    await person.page.evaluate("location.hash = '#/calls'")
    await person.see("signed-out")


async def sign_in_with(browser: Browser, url: str, account: Account, password: str) -> PersonPage:
    context = await browser.new_context(viewport=LAPTOP, permissions=["camera", "microphone"], locale="en-GB")
    person = PersonPage(await context.new_page(), account, PICTURES)
    await person.page.goto(url)
    await person.page.get_by_test_id("sign-in-email").fill(account.email)
    await person.page.get_by_test_id("sign-in-password").fill(password)
    await person.press("sign-in-submit")
    await person.see("conversation-item")
    return person


async def test_a_new_password_signs_other_browsers_out_and_not_this_one(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server, httpx2.AsyncClient(trust_env=False) as http, chromium() as browser:
        ada, ben = await register(http, server.url, "Ada"), await register(http, server.url, "Ben")
        await converse(http, ada, ben)
        here, there = await PersonPage.open(browser, ada, PICTURES), await PersonPage.open(browser, ada, PICTURES)
        await here.press("settings")
        await here.press("change-password")
        await here.picture("change-password")
        await fill(here.page, current_password="not this one", new_password=NEW, new_password_again="not the same")
        await here.see_state("The two passwords are not the same.")
        await fill(here.page, new_password_again=NEW)
        await here.see_state("The current password is not right.")
        await fill(here.page, current_password=PASSWORD)
        await here.see_state("The password is changed.")
        await signed_out(there)
        await here.page.reload()
        await here.see("conversation-item")
        third = await sign_in_with(browser, server.url, ada, NEW)
        await third.press("settings")
        await third.press("sign-out-everywhere")
        await third.press("sign-out-everywhere-sure")
        await third.see("sign-in-submit")
        await third.page.reload()
        await third.see("sign-in-submit")
        await signed_out(here)


async def test_a_one_time_link_lets_one_choose_a_password(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server, httpx2.AsyncClient(trust_env=False) as http, chromium() as browser:
        ada, ben = await register(http, server.url, "Ada"), await register(http, server.url, "Ben")
        await converse(http, ada, ben)
        link = re.sub(r"^.*#", f"{server.url}/#", (await operator(server).users("reset", ada.email)).strip())
        context = await browser.new_context(viewport=LAPTOP, locale="vi-VN")
        person = PersonPage(await context.new_page(), ada, PICTURES)
        await person.page.goto(link)
        await person.see_state("Chọn mật khẩu mới")
        assert "reset" not in person.page.url, "the token does not stay in the address"
        await person.picture("reset")
        await fill(person.page, new_password=NEW, new_password_again=NEW)
        await person.see("conversation-item")
        again = await context.new_page()
        await again.goto(link)
        await fill(again, new_password=NEW, new_password_again=NEW)
        await again.get_by_text("Liên kết này đã hết hạn").wait_for()
        await again.get_by_test_id("reset-sign-in").click()
        await again.get_by_test_id("sign-in-submit").wait_for()


def operator(server: ServerProcess) -> Place:
    """The operator's commands beside this server."""
    environment: dict[str, Any] = {"SECURECONNECT_JWT_SECRET": SECRET}
    return Place([server], environment)
