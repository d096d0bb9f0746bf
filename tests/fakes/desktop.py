"""A desktop that shows notifications: a private D-Bus session with a notification server on it, where a test presses the buttons.

Chromium knows no difference, also without a screen: what it shows goes out here, and what is pressed here comes to the page's
service worker as a person's click. Desktop Notifications Specification 1.2, section 9 (freedesktop.org).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from dbus_fast import Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusInt32, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
PATIENCE_SECONDS = 20.0
Strings = Annotated[list[str], DBusSignature("as")]
Hints = Annotated[dict[str, Variant], DBusSignature("a{sv}")]
Pressed = Annotated[list[Any], DBusSignature("us")]
About = Annotated[list[str], DBusSignature("ssss")]


@dataclass
class Shown:
    """One notification as it stands; `actions` maps what a button says to its key."""

    number: int
    title: str
    body: str
    actions: dict[str, str]
    urgency: int


class Desktop(ServiceInterface):
    """Notes what is shown, in order (`history`), and what stands (`standing`)."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.history: list[Shown] = []
        self.standing: dict[int, Shown] = {}
        self._changed = asyncio.Condition()
        self._numbers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @dbus_method()
    def GetCapabilities(self) -> Strings:  # noqa: N802
        return ["actions", "body", "persistence"]

    @dbus_method()
    def GetServerInformation(self) -> About:  # noqa: N802
        return ["tests", "SecureConnect", "1", "1.2"]

    @dbus_method()
    def Notify(  # noqa: N802  (the specification's)
        self,
        _app: DBusStr,
        replaces: DBusUInt32,
        _icon: DBusStr,
        title: DBusStr,
        body: DBusStr,
        actions: Strings,
        hints: Hints,
        _timeout: DBusInt32,
    ) -> DBusUInt32:
        if not replaces:
            self._numbers += 1
        number = replaces or self._numbers
        buttons = dict(zip(actions[1::2], actions[::2], strict=True))
        # Chromium puts the site before the words; what the site itself says comes last.
        shown = Shown(number, title, body.rpartition("\n")[2], buttons, hints["urgency"].value)
        self.history.append(shown)
        self.standing[number] = shown
        self._tell()
        return number

    @dbus_method()
    def CloseNotification(self, number: DBusUInt32) -> None:  # noqa: N802
        self.standing.pop(number, None)
        self.NotificationClosed(number, 3)
        self._tell()

    @dbus_signal()
    def ActionInvoked(self, number: int, key: str) -> Pressed:  # noqa: N802
        return [number, key]

    @dbus_signal()
    def NotificationClosed(self, number: int, reason: int) -> Annotated[list[int], DBusSignature("uu")]:  # noqa: N802
        return [number, reason]

    async def shows(self, title: str) -> Shown:
        """Wait until a notification with this title stands."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: any(one.title == title for one in self.standing.values()))
        return next(one for one in self.standing.values() if one.title == title)

    async def clears(self) -> None:
        """Wait until none stands."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: not self.standing)

    def press(self, shown: Shown, button: str) -> None:
        """As a person does."""
        self.ActionInvoked(shown.number, shown.actions[button])

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.ensure_future(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def desktop() -> AsyncIterator[tuple[Desktop, str]]:
    """A desktop, and the address for `DBUS_SESSION_BUS_ADDRESS` of whoever shall show there."""
    command = ("dbus-daemon", "--session", "--nofork", "--nosyslog", "--print-address")
    daemon = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    try:
        assert daemon.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            address = (await daemon.stdout.readline()).decode().strip()
        bus = await MessageBus(bus_address=address).connect()
        one = Desktop()
        bus.export(PATH, one)
        await bus.request_name(NAME)
        yield one, address
        bus.disconnect()
    finally:
        daemon.terminate()
        await daemon.wait()
