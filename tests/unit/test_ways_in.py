"""A way into a workflow that fails is told to its caller, and to nobody else."""

import asyncio
import gc
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from billing.core import ids
from billing.matters.schemas import of_account
from workflows import start
from workflows.contracts import Settled

SOON, LATER = timedelta(milliseconds=20), timedelta(milliseconds=200)


class Deaf:
    """A client whose server does not answer: as the SDK does, it tells the operation as well."""

    def __init__(self, status: RPCStatusCode | None) -> None:
        self.status = status

    async def execute_update_with_start_workflow(
        self, _: str, *, start_workflow_operation: Any, **__: Any
    ) -> None:
        keep = start_workflow_operation._workflow_handle
        if self.status is None:
            keep.set_exception(asyncio.CancelledError())
            raise WorkflowUpdateRPCTimeoutOrCancelledError
        error = RPCError("away", self.status, b"")
        keep.set_exception(error)
        raise error


@pytest.mark.parametrize("status", [None, RPCStatusCode.UNAVAILABLE])
async def test_a_wait_that_failed_leaves_no_failure_that_nobody_read(
    status: RPCStatusCode | None,
) -> None:
    heard: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, seen: heard.append(seen["message"]))
    with suppress(RPCError):
        await start.wait_until_done(
            cast("Client", Deaf(status)), of_account(ids.new()), timedelta(seconds=1)
        )
    gc.collect()
    loop.set_exception_handler(None)
    assert heard == []


class Refusing:
    """A client whose first calls the SDK repeats without end, as Temporal refuses those of a start
    that it knows; it answers the later ones. When asked for the update it answers in turn as told,
    then that it has it.
    """

    namespace = "ours"

    def __init__(self, refused: int, *known: RPCStatusCode) -> None:
        self.refused, self.known = refused, list(known)
        self.asked: list[str] = []
        self.polled: list[str] = []
        self.signals = 0
        self.workflow_service = self

    async def poll_workflow_execution_update(self, request: Any, **_: Any) -> None:
        self.polled.append(request.update_ref.update_id)
        if self.known:
            raise RPCError("no", self.known.pop(0), b"")

    def get_workflow_handle(self, _: str) -> "Refusing":
        return self

    async def signal(self, name: str, **_: Any) -> None:
        assert name == "changed"
        self.signals += 1

    async def execute_update_with_start_workflow(
        self, name: str, *, id: str, start_workflow_operation: Any, **_: Any
    ) -> Settled:
        self.asked.append(f"{name} {id}")
        if len(self.asked) > self.refused:
            return Settled(settled=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            start_workflow_operation._workflow_handle.set_exception(error)
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error
        raise AssertionError("it waits for ever")


class Ending:
    """A client of a matter whose run ends, or goes on anew, before it answers."""

    def __init__(self, *rounds: Settled | Exception) -> None:
        self.rounds = list(rounds)
        self.asked: list[str] = []

    async def execute_update_with_start_workflow(
        self, name: str, *, start_workflow_operation: Any, **_: Any
    ) -> Settled:
        self.asked.append(name)
        answer = self.rounds.pop(0)
        if isinstance(answer, RPCError):
            start_workflow_operation._workflow_handle.set_exception(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Silent:
    """A client of a matter that answers no update."""

    def get_workflow_handle(self, _: str) -> "Silent":
        return self

    async def execute_update(self, _: str, **__: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error


async def waited(client: Refusing | Ending, timeout: timedelta) -> Settled | None:
    return await start.wait_until_done(
        cast("Client", client), of_account(ids.new()), timeout, "tax-"
    )


async def test_a_call_whose_repeats_are_refused_is_made_anew_as_the_same_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "ASK_AGAIN", SOON)
    client = Refusing(2)
    assert await waited(client, timedelta(seconds=9)) == Settled(settled=True)
    assert len(client.asked) == 3
    assert len(set(client.asked)) == 1
    assert client.asked[0].startswith("settled_about ")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (RPCError("between runs", RPCStatusCode.FAILED_PRECONDITION, b""), "settled_about"),
        (Settled(settled=False), "settled_about"),
        (WorkflowUpdateFailedError(ApplicationError("not found")), "settled"),
    ],
    ids=["between runs", "a run that goes on anew", "a worker of an earlier release"],
)
async def test_who_waits_for_a_step_goes_on_to_wait_for_no_other(
    first: Settled | Exception, then: str
) -> None:
    """After a run's end a request waited ten seconds for others' steps, though its own was done."""
    client = Ending(first, Settled(settled=True))
    assert await waited(client, timedelta(seconds=9)) == Settled(settled=True)
    assert client.asked == ["settled_about", then]


@pytest.mark.parametrize(
    ("known", "polls", "signals"),
    [
        ((), 1, 0),
        ((RPCStatusCode.NOT_FOUND,), 1, 1),
        ((RPCStatusCode.UNAVAILABLE, RPCStatusCode.RESOURCE_EXHAUSTED), 3, 0),
        ((RPCStatusCode.UNAVAILABLE, RPCStatusCode.NOT_FOUND), 2, 1),
    ],
    ids=["it has it", "too many others", "it is away", "away, then too many"],
)
async def test_a_matter_that_took_no_update_is_woken_once(
    monkeypatch: pytest.MonkeyPatch, known: tuple[RPCStatusCode, ...], polls: int, signals: int
) -> None:
    monkeypatch.setattr(start, "ASK_AGAIN", SOON)
    client = Refusing(5, *known)
    assert await waited(client, timedelta(seconds=9)) == Settled(settled=True)
    assert (len(client.polled), client.signals) == (polls, signals)
    assert {f"settled_about {one}" for one in client.polled} == set(client.asked)


async def test_nobody_waits_longer_than_asked_or_once_canceled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "ASK_AGAIN", SOON)
    assert await waited(Refusing(10**6), LATER) is None
    waiting = asyncio.create_task(waited(Refusing(10**6), timedelta(seconds=9)))
    await asyncio.sleep(LATER.total_seconds())
    waiting.cancel()
    await asyncio.wait([waiting], timeout=1)
    assert waiting.cancelled(), "not as if its time was over"


async def test_who_is_canceled_while_a_halted_matter_is_freed_does_not_go_on() -> None:
    freeing = asyncio.create_task(start.resume(cast("Client", Silent()), of_account(ids.new())))
    await asyncio.sleep(SOON.total_seconds())
    freeing.cancel()
    await asyncio.wait([freeing], timeout=1)
    assert freeing.cancelled()
