"""A rebuild of a hundred thousand matters does not end at one slow answer."""

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from billing.matters.schemas import of_account
from cli import rebuild
from workflows import visibility

MATTER = of_account(uuid4())
NOBODY = cast(Client, None)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The server's answers when asked for a workflow, call by call."""
    given: list[Any] = []

    async def is_running(_client: Client, _workflow_id: str) -> bool:
        answer = given.pop(0)
        if isinstance(answer, RPCStatusCode):
            raise RPCError("no", answer, b"")
        return bool(answer)

    monkeypatch.setattr(visibility, "is_running", is_running)
    monkeypatch.setattr(rebuild, "PAUSES", (0, 0))
    return given


async def test_a_server_out_of_breath_is_asked_again(answers: list[Any]) -> None:
    answers += [RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE, True]
    assert await rebuild._ensure(NOBODY, MATTER, asyncio.Semaphore())


async def test_one_that_stays_away_ends_the_rebuild(answers: list[Any]) -> None:
    answers += [RPCStatusCode.UNAVAILABLE] * 3
    with pytest.raises(RPCError):
        await rebuild._ensure(NOBODY, MATTER, asyncio.Semaphore())


async def test_a_refusal_is_not_repeated(answers: list[Any]) -> None:
    answers += [RPCStatusCode.PERMISSION_DENIED]
    with pytest.raises(RPCError):
        await rebuild._ensure(NOBODY, MATTER, asyncio.Semaphore())
