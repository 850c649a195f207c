"""`billing resume` orders all that waits, whatever Temporal takes of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from billing.core.database import Database
from billing.matters.schemas import Matter, of_account
from billing.money.invoice_requests import unreached
from billing.money.invoice_requests.unreached import Waiting
from cli import resuming
from workflows import start

PAGES: Final = 3
WAITING: Final = [
    Waiting(account_id=UUID(int=n), workflow_id=f"collection/{n}", invoice_ids=[UUID(int=n)])
    for n in range(PAGES * resuming.AT_ONCE)
]


class _Rows:
    """A database whose rows the test answers for."""

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def tenant(self, _: UUID) -> AsyncIterator[None]:
        yield


@pytest.mark.parametrize("status", [RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.CANCELLED])
async def test_what_temporal_does_not_take_is_left_to_the_sweeper_and_the_others_are_ordered(
    monkeypatch: pytest.MonkeyPatch, status: RPCStatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    nudged: list[str] = []

    async def waiting(_: Any) -> list[Waiting]:
        return WAITING

    async def order(_: Any, found: Waiting) -> tuple[list[Matter], int]:
        return [of_account(found.account_id)], 1

    async def nudge(_: Client, matter: Matter) -> None:
        nudged.append(matter.workflow_id)
        if len(nudged) == 1:
            raise RPCError("busy", status, b"")

    monkeypatch.setattr(unreached, "waiting", waiting)
    monkeypatch.setattr(unreached, "try_now", order)
    monkeypatch.setattr(start, "nudge", nudge)

    due = await resuming.try_unreached(cast(Database, _Rows()), cast(Client, None))

    assert due == len(set(nudged)) == len(WAITING)
    assert "the sweeper notifies it: busy" in caplog.text
