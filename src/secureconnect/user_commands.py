"""The commands `secureconnect users …`: accounts, managed by the operator beside running servers.

They change the database; running nodes learn of it by the bus or by reading again, within a second.
"""

import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

from cyclopts import App, Parameter
from msgspec import Struct, json
from rich.table import Table

from secureconnect.command_line import ConfigFile, DataDir, Json, ask_database, console, read_settings
from secureconnect.config import Settings
from secureconnect.ids import UserId
from secureconnect.operator_access import OperatorAccess, open_operator_access
from secureconnect.store.account_admin import UserRecord
from secureconnect.terminal import escape_json, foreign

T = TypeVar("T")
users = App(name="users", help="Accounts: list, create, disable, sign out, delete them, or let one choose a new password.")

Name = Annotated[str, Parameter(help="The user's email or id.")]


class ResetLink(Struct, frozen=True):
    """A link by which a user sets a new password, once."""

    user_id: UserId
    email: str | None
    url: str
    expires_in: int


@users.command(name="list")
def list_users(
    words: Annotated[str, Parameter(help="Only users of whose name a word, or whose email, begins with this.")] = "",
    *,
    limit: Annotated[int, Parameter(help="How many at most.")] = 100,
    after: Annotated[UUID | None, Parameter(help="Only users after this id, which was the last of the list before.")] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List accounts, the oldest first, with their open sign-ins."""
    found = _ask(config, data_dir, lambda access: access.administration.list_users(words, limit=limit, after=after))
    if as_json:
        _write_json(found)
    else:
        console.print(_table(found))


@users.command
def create(
    email: Annotated[str, Parameter(help="The email that the user signs in with.")],
    name: Annotated[str, Parameter(help="The name that others see.")],
    *,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Create an account, and print a link by which its user chooses a password within 30 minutes."""

    async def work(access: OperatorAccess) -> ResetLink:
        user = await access.administration.create(email, name)
        return await _make_link(access, user)

    _print_link(_ask(config, data_dir, work), as_json=as_json)


@users.command
def invite(
    *,
    days: Annotated[float, Parameter(help="How long the invitation works.")] = 7.0,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Print a link with which one person can register, for `registration` = invited."""
    link = _ask(config, data_dir, lambda access: access.make_invitation_link(timedelta(days=days)))
    if as_json:
        _write_json({"url": link})
    else:
        sys.stdout.write(f"{link}\n")


@users.command
def reset(name: Name, *, config: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print a link by which a user chooses a new password within 30 minutes, once. An earlier link is void."""

    async def work(access: OperatorAccess) -> ResetLink:
        return await _make_link(access, await access.administration.find(_name(name)))

    _print_link(_ask(config, data_dir, work), as_json=as_json)


@users.command(name="sign-out")
def sign_out(name: Name, *, config: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """End all sign-ins, tokens and sockets of a user, who may sign in again."""
    _change(name, config, data_dir, lambda access, user: access.administration.sign_out(user), "is signed out", as_json=as_json)


@users.command
def disable(name: Name, *, config: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Sign a user out, and refuse every sign-in and token until `enable`."""
    _change(name, config, data_dir, lambda access, user: access.administration.disable(user), "is disabled", as_json=as_json)


@users.command
def enable(name: Name, *, config: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let a disabled user sign in again."""
    _change(name, config, data_dir, lambda access, user: access.administration.enable(user), "is enabled", as_json=as_json)


@users.command
def delete(
    name: Name,
    *,
    yes: Annotated[bool, Parameter(name="--yes", negative=(), help="Do not ask.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Delete an account for ever: sign it out and remove what identifies its user. Messages stay, without a name."""
    if not yes:
        if not sys.stdin.isatty():
            console.print("[red]secureconnect:[/] deletion cannot be undone: say --yes", highlight=False)
            sys.exit(2)
        if console.input(f"Delete {name} for ever? Type yes: ", markup=False).strip() != "yes":
            sys.exit(1)
    _change(name, config, data_dir, lambda access, user: access.administration.delete(user), "is deleted", as_json=as_json)


def _change(
    name: str,
    config: Path | None,
    data_dir: Path | None,
    deed: Callable[[OperatorAccess, UserId], Awaitable[None]],
    outcome: str,
    *,
    as_json: bool,
) -> None:
    """Do this to a user and say so; as JSON with the user as it is now."""

    async def work(access: OperatorAccess) -> UserRecord:
        user = await access.administration.find(_name(name))
        await deed(access, user.user_id)
        return await access.administration.look_up(user.user_id)

    user = _ask(config, data_dir, work)
    if as_json:
        _write_json(user)
    else:
        console.print(foreign(f"{name} {outcome}."))


def _ask(config: Path | None, data_dir: Path | None, work: Callable[[OperatorAccess], Awaitable[T]]) -> T:
    settings: Settings = read_settings(config, data_dir=data_dir, log_level="error")

    async def ask(database: Any) -> T:
        async with open_operator_access(settings, database) as access:
            return await work(access)

    return ask_database(settings, ask)


async def _make_link(access: OperatorAccess, user: UserRecord) -> ResetLink:
    url, seconds = await access.make_reset_link(user)
    return ResetLink(user.user_id, user.email, url, seconds)


def _print_link(link: ResetLink, *, as_json: bool) -> None:
    if as_json:
        _write_json(link)
    else:
        sys.stdout.write(f"{link.url}\n")


def _name(text: str) -> str | UUID:
    try:
        return UUID(text)
    except ValueError:
        return text


def _write_json(value: Any) -> None:
    sys.stdout.write(escape_json(json.format(json.encode(value), indent=2).decode()) + "\n")


def _table(found: list[UserRecord]) -> Table:
    table = Table()
    for column in ("id", "email", "name", "since", "sign-ins", "last seen", "state"):
        table.add_column(column, overflow="fold")  # an id that is cut is of no use
    for user in found:
        state = "deleted" if user.deleted_at else "disabled" if user.disabled_at else "" if user.has_password else "no password"
        seen = f"{user.seen_at:%Y-%m-%d %H:%M}" if user.seen_at else ""
        cells = (
            str(user.user_id),
            user.email or "",
            user.display_name,
            f"{user.created_at:%Y-%m-%d}",
            str(user.sign_ins),
            seen,
            state,
        )
        table.add_row(*(foreign(cell) for cell in cells))
    return table
