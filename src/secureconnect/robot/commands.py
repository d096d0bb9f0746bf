"""What the command line can ask of the robot: the people of the demo, the judged call, and one robot in somebody's call.

Called by cli.py, which has a server running already where one is needed. Everything here speaks to it over the network.
"""

import random
from pathlib import Path
from uuid import UUID, uuid4

from av import FFmpegError
from rich.console import Console
from rich.text import Text

from secureconnect.clock import SystemClock
from secureconnect.ids import ConversationId, DeviceId
from secureconnect.robot.client import Client, http_client
from secureconnect.robot.demo import Demo, seed
from secureconnect.robot.echo import Echo
from secureconnect.robot.headless import Rehearsal
from secureconnect.robot.live import Visit
from secureconnect.robot.network import NO_ADDRESS, has_media_address
from secureconnect.robot.problems import ClientError
from secureconnect.terminal import foreign


async def run_demo_people(base_url: str, data_dir: Path, console: Console) -> None:
    """Register Ada, Linus and Echo, print a link for each person, and let Echo answer calls until cancelled.

    `base_url` is where browsers reach the server, `http://localhost:9090`. Raises ProblemError and UnreachableError.
    """
    async with http_client() as http:
        clock = SystemClock()
        demo = await seed(base_url, data_dir, http, clock)
        console.print(_invitation(demo), soft_wrap=True)
        if not has_media_address():
            console.print(f"[yellow]Echo will answer, but will be neither heard nor seen.[/] {NO_ADDRESS}")
        await Echo(demo.echo.client, demo.echo.person.display_name, clock=clock, random=random.random).run()


async def run_headless(base_url: str, data_dir: Path, console: Console) -> int:
    """The judged call. The exit status: 0 only when both robots heard and saw each other."""
    if not has_media_address():
        console.print(f"[red]{NO_ADDRESS}[/]")
        return 1
    async with http_client() as http:
        clock = SystemClock()
        try:
            good = await Rehearsal(await seed(base_url, data_dir, http, clock), clock).run(console)
        except ClientError as failure:
            console.print(foreign(str(failure), "red"))
            return 1
    console.print("[green]Both heard and saw each other.[/]" if good else "[red]They did not hear and see each other.[/]")
    return 0 if good else 1


async def run_call(
    base_url: str, token: str, conversation_id: UUID, *, file: Path | None, seconds: float | None, console: Console
) -> int:
    """Take part in the conversation's call as the user of `token`, playing `file` or a test pattern, for `seconds` or to its end.

    The exit status: 0 when somebody was heard or seen.
    """
    if not has_media_address():
        console.print(f"[red]{NO_ADDRESS}[/]")
        return 1
    async with http_client() as http:
        clock = SystemClock()
        client = Client(base_url, http, clock=clock, device_id=DeviceId(uuid4()))
        client.use_token(token)
        try:
            visit = Visit(client, ConversationId(conversation_id), clock)
            heard = await visit.run(file=file, seconds=seconds, console=console)
        except (ClientError, FFmpegError) as failure:
            console.print(foreign(str(failure), "red"))
            return 1
    return 0 if heard else 1


def _invitation(demo: Demo) -> Text:
    """Who there is and how to be them; links stand alone at the end of a line, so that they can be copied whole."""
    lines = Text("\nOpen each in a browser:\n\n")
    for guest in (demo.ada, demo.linus):
        lines.append(f"  {guest.person.display_name:<6}", style="bold").append(f"{guest.link}\n", style=f"link {guest.link}")
    lines.append("  Echo  ", style="bold").append("answers every call: ring it and hear yourself\n")
    return lines
