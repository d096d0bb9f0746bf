"""One account for all spellings of one address, and accounts of 0.1 are still found."""

import pytest

from secureconnect.accounts.emails import email_spellings, normal_email
from secureconnect.accounts.service import AccountService
from secureconnect.errors import EmailTaken, WrongCredentials
from secureconnect.store import Database
from secureconnect.store.accounts import User, insert_user
from tests.fakes.clock import START

NFC, NFD = "jos\u00e9@example.com", "jose\u0301@example.com"


@pytest.mark.parametrize(
    "spellings",
    [
        (NFC, NFD, "JOS\u00c9@Example.com ", " JOSE\u0301@example.com"),
        ("strasse@example.com", "stra\u00dfe@example.com", "STRASSE@example.com", "STRA\u1e9eE@example.com"),
        ("i\u0307@example.com", "\u0130@example.com"),
        ("ada@example.com", "\uff21da@example.com", "Ada@EXAMPLE.com"),
    ],
)
def test_spellings_of_one_address(spellings: tuple[str, ...]) -> None:
    assert len({normal_email(email) for email in spellings}) == 1
    for email in spellings:
        assert normal_email(email) in email_spellings(email)
        assert normal_email(normal_email(email)) == normal_email(email)


async def register(accounts: AccountService, email: str, password: str = "correct horse battery") -> None:
    await accounts.register(email=email, password=password, display_name="Jos\u00e9")


@pytest.mark.anyio
@pytest.mark.parametrize(("first", "second"), [(NFC, NFD), (NFD, NFC), ("stra\u00dfe@example.com", "STRASSE@example.com")])
async def test_a_second_spelling_is_the_same_account(accounts: AccountService, first: str, second: str) -> None:
    await register(accounts, first)
    with pytest.raises(EmailTaken):
        await register(accounts, second)
    assert (await accounts.login(email=second, password="correct horse battery")).user.display_name


@pytest.mark.anyio
@pytest.mark.parametrize("kept", [NFC, NFD, "stra\u00dfe@example.com"])
async def test_an_account_of_an_earlier_version_is_found(accounts: AccountService, database: Database, kept: str) -> None:
    await register(accounts, "other@example.com")
    other = await accounts.login(email="other@example.com", password="correct horse battery")
    password_hash = await accounts._passwords.hash("its own password")
    user = User(accounts._ids.user(), kept, "Earlier")
    await database.transact(lambda connection: insert_user(connection, user, START, password_hash=password_hash))
    signed_in = await accounts.login(email=kept.upper() if kept != "stra\u00dfe@example.com" else kept, password="its own password")
    assert signed_in.user.user_id == user.user_id != other.user.user_id
    with pytest.raises(EmailTaken):
        await register(accounts, kept)
    with pytest.raises(WrongCredentials):
        await accounts.login(email="nobody@example.com", password="its own password")
