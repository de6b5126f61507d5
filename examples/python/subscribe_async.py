"""The same with asyncio, from several services at once.

python subscribe_async.py TARGET...
"""

import asyncio
import sys

from rtstream.client import AsyncClient, Final


async def hear(target: str) -> None:
    """Print the finals of one service, for ever."""
    async with AsyncClient(target) as client:
        async for event in client.subscribe(from_start=True, partials=False):
            if isinstance(event, Final) and event.text:
                print(f"{client.target}  {event.start:8.2f} s  {event.text}", flush=True)


async def main(targets: list[str]) -> None:
    """Hear all of them until one fails for good."""
    async with asyncio.TaskGroup() as tasks:
        for target in targets or ["127.0.0.1:7660"]:
            tasks.create_task(hear(target))


asyncio.run(main(sys.argv[1:]))
