"""A worker process begins to serve once it is ready, and its queues end with it."""

import asyncio
from typing import Any, cast

from temporalio.worker import Worker

from billing.platform.processes.service import Pulse
from worker import may_serve, serve

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
    serving = asyncio.create_task(serve(cast(list[Worker], queues), stop, cast(Pulse, Heart())))
    await asyncio.sleep(0)
    assert told == []
    stop.set()
    async with asyncio.timeout(PATIENCE):
        await serving
    assert sorted(told) == ["background", "interactive"]


async def test_both_queues_end_where_the_clock_is_wrong() -> None:
    told, all_told, heart = list[str](), asyncio.Event(), Heart()
    queues = [Queue(told, all_told, name) for name in ("interactive", "background")]
    serving = asyncio.create_task(
        serve(cast(list[Worker], queues), asyncio.Event(), cast(Pulse, heart))
    )
    await asyncio.sleep(0.05)
    assert told == []
    heart.clock_is_wrong.set()
    async with asyncio.timeout(PATIENCE):
        await serving
    assert sorted(told) == ["background", "interactive"]


class Heart:
    """Beats like the process's pulse, once the database is there."""

    def __init__(self) -> None:
        self.database_is_there = asyncio.Event()
        self.clock_is_wrong = asyncio.Event()

    async def fit(self) -> None:
        await self.database_is_there.wait()

    async def astray(self) -> None:
        await self.clock_is_wrong.wait()


async def test_a_worker_serves_no_queue_before_its_first_sign_of_life() -> None:
    heart, stop = Heart(), asyncio.Event()
    waiting = asyncio.create_task(may_serve(cast(Pulse, heart), stop))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "it would take steps that it cannot do"
    heart.database_is_there.set()
    async with asyncio.timeout(PATIENCE):
        assert await waiting


async def test_a_worker_without_a_database_ends_when_it_is_told_to() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(may_serve(cast(Pulse, Heart()), stop))
    await asyncio.sleep(0.05)
    stop.set()
    async with asyncio.timeout(PATIENCE):
        assert not await waiting
