"""Once a request has committed, no failure of Temporal's makes an error of it."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from fastapi.responses import Response
from sqlalchemy import exc
from temporalio.service import RPCError, RPCStatusCode

from api import workflow_calls
from api.answers.problems import UNAVAILABLE
from api.calls import Call
from api.idempotency import OptionalKey
from api.routes.base import new_router
from billing.core.error_codes import CODES
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
        (workflow_calls.wait_until_done, "wait_until_done"),
        (workflow_calls.ensure_started, "start_new"),
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


AWAY: Final = exc.OperationalError("SELECT", {}, psycopg.OperationalError("refused"))
LATER: Final[dict[str, tuple[Exception, bool, int, str]]] = {
    "the database is away": (AWAY, True, 202, "accepted"),
    "a claim of Temporal's": (Unavailable("TEMPORAL_UNAVAILABLE"), True, 202, "accepted"),
    "before the commit": (AWAY, False, 503, "503"),
    "a defect of ours": (KeyError("x"), True, 500, "500"),
}


@pytest.mark.parametrize("case", LATER)
async def test_a_result_that_cannot_be_read_is_accepted_with_the_id(
    app: FastAPI, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    failure, is_committed, status, said = LATER[case]

    async def told(*_: Any) -> None:
        """Temporal hears of it."""

    router = new_router("tests")

    @router.post("/write")
    async def write(once: OptionalKey) -> Response:
        call = cast(Call, SimpleNamespace(temporal=None, account=None))
        async with once.claim(call):
            if is_committed:
                await workflow_calls.wait_until_all_done(call, [MATTER])
                await workflow_calls.notify(call, MATTER)
            raise failure

    monkeypatch.setattr(start, "wait_until_done", told)
    monkeypatch.setattr(start, "nudge", told)
    app.router.routes[:0] = router.routes
    answer = await client.post("/api/v1/write")
    assert (answer.status_code, str(answer.json()["status"])) == (status, said)
    if status == 202:
        assert answer.json()["subjects"] == ["acc_00000000000000000000000001"]
        assert answer.headers["Retry-After"] == "2"
        assert "a repeat would be a new request" in answer.json()["detail"], "it had no key"


def test_no_sentence_of_an_outage_says_that_nothing_was_done() -> None:
    for code in UNAVAILABLE:
        assert "may have been done: repeat it with the same key" in CODES[code].detail
