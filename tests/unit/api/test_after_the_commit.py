"""Once a request has committed, no failure of Temporal's makes an error of it."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.service import RPCError, RPCStatusCode

from api import workflow_calls
from api.dependencies import Call
from billing.core.errors import Unavailable
from billing.matters.schemas import Matter, of_account
from workflows import start

MATTER: Final = of_account(UUID(int=1))
FAILURES: Final = (
    RPCError("ten updates are on their way", RPCStatusCode.RESOURCE_EXHAUSTED, b""),
    RPCError("away", RPCStatusCode.UNAVAILABLE, b""),
    RuntimeError("Failed client connect: away"),
    Unavailable("TEMPORAL_UNAVAILABLE", "no worker answers"),
)


@pytest.mark.parametrize("failure", FAILURES, ids=str)
@pytest.mark.parametrize(
    ("tell", "told"),
    [
        (workflow_calls.resume_if_halted, "resume"),
        (workflow_calls.wait_until_done, "wait_until_done"),
        (workflow_calls.ensure_started, "ensure_running"),
        (workflow_calls.notify, "nudge"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
async def test_what_is_committed_is_left_to_the_sweeper(
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[[Call, Matter], Awaitable[None]],
    told: str,
    failure: Exception,
) -> None:
    async def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(start, told, fail)
    await tell(cast(Call, SimpleNamespace(temporal=None)), MATTER)
