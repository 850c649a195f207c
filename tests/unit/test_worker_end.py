"""A worker process that is told to end has its queues end at the same time."""

import asyncio
from typing import Any, cast

from temporalio.worker import Worker

from worker import serve

PATIENCE = 5


class Queue:
    """Works like Temporal's worker; what runs in it ends once all were told to."""

    def __init__(self, told: list[str], all_told: asyncio.Event, name: str) -> None:
        self.told, self.all_told, self.name = told, all_told, name

    async def __aenter__(self) -> "Queue":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.shutdown()

    async def shutdown(self) -> None:
        if self.name not in self.told:
            self.told.append(self.name)
        if len(self.told) == 2:
            self.all_told.set()
        await self.all_told.wait()


async def test_both_queues_are_told_to_end_before_either_has_ended() -> None:
    told, all_told, stop = list[str](), asyncio.Event(), asyncio.Event()
    queues = [Queue(told, all_told, name) for name in ("interactive", "background")]
    serving = asyncio.create_task(serve(cast(list[Worker], queues), stop))
    await asyncio.sleep(0)
    assert told == []
    stop.set()
    async with asyncio.timeout(PATIENCE):
        await serving
    assert sorted(told) == ["background", "interactive"]
