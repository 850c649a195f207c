"""A rebuild of many matters does not end at one slow answer, nor says "done" too early."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import sweeps
from cli import rebuild, repair_commands
from cli.errors import StackError
from workflows import pollers
from workflows.pollers import Polled

NOBODY = cast(Client, None)


class _Rows:
    """A database whose rows the test answers for."""

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        yield


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The server's answers, call by call."""
    monkeypatch.setattr(rebuild, "PAUSES", (0, 0))
    return []


async def ask(answers: list[Any]) -> Any:
    answer = answers.pop(0)
    if isinstance(answer, RPCStatusCode):
        raise RPCError("no", answer, b"")
    return answer


async def test_a_server_out_of_breath_is_asked_again(answers: list[Any]) -> None:
    answers += [RPCStatusCode.CANCELLED, RPCStatusCode.UNAVAILABLE, "yes"]
    assert await rebuild.patiently(lambda: ask(answers)) == "yes"


async def test_one_that_stays_away_ends_the_rebuild(answers: list[Any]) -> None:
    answers += [RPCStatusCode.UNAVAILABLE] * 3
    with pytest.raises(RPCError):
        await rebuild.patiently(lambda: ask(answers))


async def test_a_refusal_is_not_repeated(answers: list[Any]) -> None:
    answers += [RPCStatusCode.PERMISSION_DENIED, "yes"]
    with pytest.raises(RPCError):
        await rebuild.patiently(lambda: ask(answers))


async def test_without_a_worker_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def polled(_: Client) -> list[Polled]:
        return [
            Polled(queue="interactive", task_type="workflows", asked_at=real_now()),
            Polled(queue="background", task_type="workflows", asked_at=None),
        ]

    monkeypatch.setattr(pollers, "polled", polled)
    monkeypatch.setattr(rebuild, "PATIENCE_SECONDS", 0)
    with pytest.raises(StackError, match="no worker polls background: start one"):
        await rebuild.need_workers(NOBODY)


def test_what_has_not_begun_is_named() -> None:
    said = rebuild.Rebuilt(
        found=1, started=4, walks=0, schedules=(), seconds=2.0, late=("trial/a",),
        is_parked=False,
    )  # fmt: skip
    assert said.words == (
        "5 open matters: 4 missing and started, 1 found running; 0 clocks walk on;"
        " schedules in place; not begun yet: trial/a after 2 s (2 a second)"
    )


async def test_matters_whose_steps_fail_delay_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for Stripe, say: with nothing in the queues the next ones are started."""
    waiting = [9, 9, 9, 0]

    async def backlog(_: Client) -> int:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    async def unlooked(_: Any, names: list[str]) -> list[str]:
        return list(names)

    monkeypatch.setattr(rebuild, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(pollers, "backlog", backlog)
    monkeypatch.setattr(sweeps, "unlooked", unlooked)
    failing = [f"purchase/{number}" for number in range(rebuild.SLACK + 1)]
    job = rebuild._Rebuilding(
        cast(Database, _Rows()), NOBODY, 30, is_parked=False, looking=[*failing]
    )
    await asyncio.wait_for(job.drain(rebuild.SLACK), 5)
    assert (job.late, job.looking, waiting) == (failing, [], [0]), "live work went first"


async def test_it_tells_what_it_waits_for_as_long_as_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With live work in the queues no page ends for minutes."""
    waiting, told = [41], list[tuple[int, int, str]]()
    draining = (200, 251, "drains: 1 not begun yet")

    async def backlog(_: Client) -> int:
        return waiting[0]

    async def unlooked(_: Any, names: list[str]) -> list[str]:
        return [] if draining in told else list(names)

    def tell(count: int, total: int, doing: str) -> None:
        told.append((count, total, doing))
        waiting[0] = 0 if len(told) > 2 else 41

    monkeypatch.setattr(rebuild, "TELL_SECONDS", 0.01)
    monkeypatch.setattr(pollers, "backlog", backlog)
    monkeypatch.setattr(sweeps, "unlooked", unlooked)
    job = rebuild._Rebuilding(
        cast(Database, _Rows()), NOBODY, 30, looking=["trial/a"], found=200, total=251
    )
    async with rebuild.telling(job, tell):
        await asyncio.wait_for(job.drain(0), 5)
    said = (200, 251, "waits for the backlog of live work (41 tasks)")
    assert told.count(said) >= 2
    assert draining in told[told.index(said) :]


def test_a_line_in_a_pipe_says_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(repair_commands, "PROGRESS_SECONDS", 0)
    with repair_commands._progress("matters") as tell:
        tell(200, 251, "waits for a worker")
        tell(251, 251)
    lines = "200 of 251 matters: waits for a worker\n251 of 251 matters\n"
    assert capsys.readouterr().out == lines
