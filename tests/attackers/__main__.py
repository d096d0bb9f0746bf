"""`make attackers`: every attack for a minute beside 50 calls of others, with the bus of one process and with Redis.

tests/namespace .venv/bin/python -m tests.attackers [--seconds 60] [--calls 50] [--bus memory redis] [--only NAME …]
"""

import argparse
import asyncio
import sys

from tests.attackers.attacks import ATTACKS
from tests.attackers.stage import stage
from tests.attackers.strangers import STRANGERS
from tests.attackers.verdict import Result, table

EVERY_ATTACK = (*ATTACKS, *STRANGERS)


async def play(arguments: argparse.Namespace) -> list[Result]:
    results = []
    chosen = [attack for attack in EVERY_ATTACK if not arguments.only or attack.__name__ in arguments.only]
    for bus in arguments.bus:
        for attack in chosen:
            # A server of its own for each: what one leaves behind is not laid to the next.
            async with stage(calls=arguments.calls, redis=bus == "redis") as here:
                result = await here.play(attack, seconds=arguments.seconds, calm_seconds=arguments.calm)
            result.name = f"{bus}: {result.name}"
            results.append(result)
            print(table([result]), flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.attackers")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--calm", type=float, default=15.0, help="seconds without an attack, to compare with")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--bus", nargs="+", choices=("memory", "redis"), default=["memory", "redis"])
    parser.add_argument("--only", nargs="+", choices=[attack.__name__ for attack in EVERY_ATTACK])
    results = asyncio.run(play(parser.parse_args()))
    faults = [f"{result.name}: {fault}" for result in results for fault in result.faults()]
    print("\n".join(faults) or f"{len(results)} attacks came to nothing")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
