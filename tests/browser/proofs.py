"""How long a picture pauses when a call moves to the SFU and back, and when the SFU is killed: many times, as a table.

    tests/namespace .venv/bin/python -m tests.browser.proofs 20

The suite holds the same once, without figures (test_sfu.py). A round takes about half a minute and is printed; the
table comes at the end.
"""

import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.async_api import Browser

from tests.browser.group import Group, group
from tests.browser.pages import PersonPage, chromium
from tests.fakes.janus import janus_of
from tests.fakes.server import ServerProcess

BUDGET_SECONDS = float(os.environ.get("PROOF_SECONDS", "3600"))
CAMERA_MS = 1000 / 12
"""What lies between two frames of the camera of these pages anyway."""


async def up_and_back(server: ServerProcess, browser: Browser, number: int) -> dict[str, float]:
    """Two talk directly, a third joins, a third leaves: the longest pause of each of the two, in milliseconds."""
    names = [f"{name}{number}" for name in ("Ada", "Bob", "Cid")]
    async with group(server, browser, names, Path(tempfile.gettempdir())) as call:
        await call.call(2)
        await call.flows("direct")
        pair = call.pages[:2]
        await call.start_meters()
        await call.join(2)
        await call.flows("sfu")
        up = [await _pause_between(one, other) for one, other in (pair, pair[::-1])]
        await call.leave(call.pages[2])
        await call.start_meters()
        await call.flows("direct")
        back = [await _pause_between(one, other) for one, other in (pair, pair[::-1])]
        return {"up_ms": max(up), "back_ms": max(back), "dark": await call.dark_moments()}


async def _pause_between(viewer: PersonPage, seen: PersonPage) -> float:
    """The longest pause in `viewer`'s tile of `seen`."""
    script = """(user) => {
        const tile = document.querySelector(`[data-user="${user}"][data-session]`);
        return window.gaps.longest[tile.dataset.session] ?? 0;
    }"""
    return float(await viewer.page.evaluate(script, seen.account.user_id))


async def kill(server: ServerProcess, call: Group) -> float:
    """The longest pause of any of the twelve pictures, in milliseconds."""
    await call.start_meters()
    await asyncio.sleep(0.5)  # each picture has had a frame: its pause begins there
    os.kill(janus_of(server), signal.SIGKILL)
    await asyncio.sleep(0.1)  # what was on its way still arrives
    await call.flows("sfu", frames=3, packets=3, seconds=60)
    return max(await call.longest_gaps())


def row(name: str, values: list[float], goal: float) -> str:
    ordered = sorted(values)
    within = sum(value <= goal for value in values)
    if not ordered:
        return f"| {name} | 0 | - | - | {goal:.0f} | - |"
    middle = statistics.median(ordered)
    return f"| {name} | {len(values)} | {middle:.0f} | {ordered[-1]:.0f} | {goal:.0f} | {within} of {len(values)} |"


async def main(rounds: int) -> None:
    end = time.monotonic() + BUDGET_SECONDS
    moves: list[dict[str, float]] = []
    kills: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with ServerProcess(Path(folder), SFU="auto", HOST="0.0.0.0", RATE_LIMITS="off") as server, chromium() as browser:
            async with group(server, browser, ("Eva", "Fay", "Gus", "Hal"), Path(folder)) as call:
                await call.call(4)
                await call.flows("sfu")
                for _ in range(rounds):
                    if time.monotonic() > end - BUDGET_SECONDS / 2:
                        break
                    kills.append(await kill(server, call))
                    print(f"killed: the longest pause was {kills[-1]:.0f} ms", flush=True)
            for number in range(rounds):
                if time.monotonic() > end:
                    break
                moves.append(await up_and_back(server, browser, number))
                print(json.dumps(moves[-1]), flush=True)
    print("\n| what | times | median, ms | longest, ms | goal, ms | within |\n|---|---|---|---|---|---|")
    print(row("third joins: longest pause of a picture", [one["up_ms"] for one in moves], 200))
    print(row("third leaves: longest pause of a picture", [one["back_ms"] for one in moves], 200))
    print(row("SFU killed, four in the call: longest pause of a picture", kills, 5000))
    dark = sum(one["dark"] for one in moves)
    print(f"\nMoments in which a tile was dark: {dark:.0f}. The camera gives a frame every {CAMERA_MS:.0f} ms.")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
