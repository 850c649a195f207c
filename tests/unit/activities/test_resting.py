"""All that have rested are woken while there is time, a few at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.service import RPCError, RPCStatusCode

from activities import notifying, resting
from billing.matters import sweeps
from billing.matters.schemas import Matter, of_account
from workflows import start

PAGE = 50


class Worker:
    """Matters at rest, and who looks at them a moment after they are told."""

    def __init__(self, many: int, *, stuck: int = 0) -> None:
        self.resting = [of_account(uuid4()) for _ in range(stuck + many)]
        self.stuck = {matter.workflow_id for matter in self.resting[:stuck]}
        self.told: list[str] = []
        self.calls = self.most_calls = self.most_waiting = 0
        self.is_away = False
        self.looks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        yield None

    async def page(self, _: Any, __: Any, limit: int) -> list[Matter]:
        return self.resting[:limit]

    async def still(self, _: Any, names: Sequence[str], __: Any) -> list[str]:
        there = {matter.workflow_id for matter in self.resting}
        return [name for name in names if name in there]

    async def begin(self, _: Any, matter: Matter) -> bool:
        if self.is_away:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        self.calls += 1
        self.most_calls = max(self.most_calls, self.calls)
        await asyncio.sleep(0.001)
        self.calls -= 1
        self.told.append(matter.workflow_id)
        waiting = {one.workflow_id for one in self.resting} & set(self.told) - self.stuck
        self.most_waiting = max(self.most_waiting, len(waiting))
        if matter.workflow_id not in self.stuck:
            self.looks.add(asyncio.create_task(self._look(matter)))
        return True

    async def _look(self, matter: Matter) -> None:
        await asyncio.sleep(0.01)
        self.resting.remove(matter)

    async def wake(self) -> int:
        database: Any = self
        client: Any = None
        return await resting.wake(database, client, PAGE)


@pytest.fixture
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker(**request.param)
    monkeypatch.setattr(resting, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(resting, "PATIENCE", timedelta(seconds=0.1))
    monkeypatch.setattr(resting, "WAKES_FOR", timedelta(seconds=30))
    monkeypatch.setattr(sweeps, "resting", made.page)
    monkeypatch.setattr(sweeps, "still_resting", made.still)
    monkeypatch.setattr(start, "begin", made.begin)
    return made


@pytest.mark.parametrize("worker", [{"many": 3 * PAGE + 7}], indirect=True)
async def test_it_goes_on_with_the_next_page(worker: Worker) -> None:
    assert await worker.wake() == 3 * PAGE + 7
    assert not worker.resting
    assert len(set(worker.told)) == len(worker.told)


@pytest.mark.parametrize("worker", [{"many": 2 * PAGE}], indirect=True)
async def test_some_are_told_at_once_and_no_more_wait_to_be_looked_at(worker: Worker) -> None:
    await worker.wake()
    assert 1 < worker.most_calls <= notifying.AT_ONCE
    assert worker.most_waiting <= resting.AT_ONCE


@pytest.mark.parametrize("worker", [{"many": 2 * PAGE, "stuck": PAGE}], indirect=True)
async def test_those_that_nobody_can_look_at_keep_none_of_the_others(worker: Worker) -> None:
    assert await worker.wake() == 3 * PAGE
    assert {matter.workflow_id for matter in worker.resting} == worker.stuck


@pytest.mark.parametrize("worker", [{"many": PAGE}], indirect=True)
async def test_where_temporal_is_away_it_is_asked_once(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.is_away = True
    assert await worker.wake() == 0
    assert caplog.text.count("could not be notified") == resting.AT_ONCE


@pytest.mark.parametrize("worker", [{"many": PAGE}], indirect=True)
async def test_what_does_not_fit_into_its_time_is_left_to_the_next_run(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "WAKES_FOR", timedelta())
    assert await worker.wake() == resting.AT_ONCE
