"""A worker takes work once Temporal is there and its clock is right, and only while it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from os import getpid
from typing import Any, Final

import pytest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

import worker
from billing.core import garbage
from billing.core.database import Database
from billing.insight.health import rules, store
from billing.platform.processes import service
from devstack.stack import StackInfo
from tests.integration.api_app import stack_settings
from tests.integration.sandbox.support import free_port
from tests.integration.waiting import wait_for
from tests.integration.wrong_clock import wrong_clock

IDLE: Final = ("idle/one", "idle/two")
"""Queues without any work."""
BEAT: Final = timedelta(seconds=0.1)


async def no_schedules(_: Any) -> list[str]:
    return []


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """The workers of the queues that this process serves, in the order in which they were built."""
    found: list[Worker] = []
    build = worker.build_worker

    def building(*of: Any) -> Worker:
        found.append(build(*of))
        return found[-1]

    monkeypatch.setattr(worker, "build_worker", building)
    monkeypatch.setattr(worker, "QUEUES", IDLE)
    monkeypatch.setattr(worker, "MAX_STEPS", dict.fromkeys(IDLE, 1))
    monkeypatch.setattr(worker, "START_PAUSES", (BEAT.total_seconds(),), raising=False)
    # This process has another profile than the stack, which keeps its own intervals.
    monkeypatch.setattr(worker, "ensure_schedules", no_schedules)
    monkeypatch.setattr(garbage, "freeze_startup", lambda: None)
    monkeypatch.setattr(service, "BEAT", BEAT)
    return found


@asynccontextmanager
async def running(stack: StackInfo) -> AsyncIterator[asyncio.Task[None]]:
    """A worker in this process; told to end at the end."""
    own = {"BILLING_WORKER_METRICS_PORT": free_port(), "BILLING_PROFILE": "default"}
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stack_settings(stack, **own), stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait([task], timeout=30)
        assert task.done(), "it ends when it is told to"


async def serving(built: list[Worker]) -> int:
    """The number of its queues that it serves."""
    return sum(one.is_running and not one.is_shutdown for one in built)


async def clocks(database: Database) -> str:
    """The words of the sign about the clock of this process."""
    async with database.operator() as connection:
        found = rules.signs(await store.look(connection))
    (words,) = (one.words for one in found if one.name == "clocks")
    return next((part for part in words.split("; ") if f"worker {getpid()} on" in part), "")


async def test_a_worker_takes_no_work_while_its_clock_is_wrong(
    stack: StackInfo,
    database: Database,
    built: list[Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(stack):
        with wrong_clock(timedelta(hours=2)):
            await wait_for(lambda: clocks(database), "the sign tells", lambda said: "+7200" in said)
            await asyncio.sleep(10 * BEAT.total_seconds())
            assert built == [], "it would date what it does by that clock"
            assert (await clocks(database)).endswith("s, and takes no work")
            assert "clock is +7200 s from the database's, it takes no work" in caplog.text
        await wait_for(lambda: serving(built), "its clock is right", lambda n: n == len(IDLE))
        with wrong_clock(-timedelta(hours=2)):
            await wait_for(lambda: serving(built), "it stops", lambda n: n == 0)
            assert all(one.is_shutdown for one in built)
        await wait_for(lambda: serving(built), "it goes on", lambda n: n == len(IDLE))
        assert len(built) == 2 * len(IDLE)
        assert await clocks(database) == ""


async def test_a_worker_whose_clock_is_a_little_off_works(
    stack: StackInfo, database: Database, built: list[Worker]
) -> None:
    with wrong_clock(timedelta(seconds=30)):
        async with running(stack):
            await wait_for(lambda: serving(built), "it serves", lambda n: n == len(IDLE))
            said = await wait_for(lambda: clocks(database), "the sign tells")
            assert "takes no work" not in said


@pytest.mark.parametrize(
    "status", [RPCStatusCode.CANCELLED, RPCStatusCode.UNAVAILABLE, RPCStatusCode.RESOURCE_EXHAUSTED]
)
async def test_a_worker_waits_for_a_temporal_that_is_slow(
    stack: StackInfo,
    built: list[Worker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: RPCStatusCode,
) -> None:
    left = [RPCError("Timeout expired", status, b"")] * 3

    async def ensure_schedules(_: Any) -> list[str]:
        if left:
            raise left.pop()
        return []

    monkeypatch.setattr(worker, "ensure_schedules", ensure_schedules)
    async with running(stack) as task:
        await wait_for(lambda: serving(built), "it serves", lambda n: n == len(IDLE) or task.done())
        assert not task.done(), task.exception()
    assert caplog.text.count("Temporal is slow or limits our calls (Timeout expired)") == 3


async def test_a_worker_that_waits_for_temporal_ends_when_it_is_told_to(
    stack: StackInfo, built: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def ensure_schedules(_: Any) -> list[str]:
        asked.set()
        raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")

    monkeypatch.setattr(worker, "START_PAUSES", (60.0,))
    monkeypatch.setattr(worker, "ensure_schedules", ensure_schedules)
    async with running(stack) as task:
        await asked.wait()
    assert task.exception() is None
    assert built == []


async def test_a_worker_that_temporal_refuses_ends(
    stack: StackInfo, built: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ensure_schedules(_: Any) -> list[str]:
        raise RPCError("no right", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(worker, "ensure_schedules", ensure_schedules)
    async with running(stack) as task:
        await asyncio.wait([task], timeout=30)
    assert isinstance(task.exception(), RPCError)
    assert built == []
