"""`billing resume` orders all that waits, whatever Temporal takes of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from typer.testing import CliRunner, Result

from billing.core import clock
from billing.core.database import Database
from billing.matters import sweeps
from billing.matters.schemas import Matter, of_account
from billing.money.invoice_requests import unreached
from billing.money.invoice_requests.unreached import Waiting
from billing.platform.audit import service as audit
from cli import repair_commands, resuming
from cli.__main__ import app
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


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The halted matters of which a resume is recorded, in their order; there are three pages."""
    halted = [
        of_account(UUID(int=n)).model_copy(update={"status": "halted"})
        for n in range(PAGES * resuming.AT_ONCE)
    ]
    recorded: list[str] = []

    @asynccontextmanager
    async def opened(_: Any) -> AsyncIterator[_Rows]:
        yield _Rows()

    async def answer(*_: Any) -> Any:
        return []

    async def found(_: Any) -> list[Matter]:
        return halted

    async def record(*_: Any, subject: str, **__: Any) -> None:
        recorded.append(subject)

    monkeypatch.setattr(repair_commands, "use_database", lambda _: None)
    monkeypatch.setattr(resuming, "open_database", opened)
    monkeypatch.setattr(sweeps, "halted", found)
    monkeypatch.setattr(audit, "record", record)
    for module, name in ((resuming, "connect"), (unreached, "waiting"), (clock, "now")):
        monkeypatch.setattr(module, name, answer)
    return recorded


def _resumed(monkeypatch: pytest.MonkeyPatch, refused: set[int]) -> Result:
    """The end of the command, if Temporal refuses the calls for these matters."""
    names = {of_account(UUID(int=n)).workflow_id for n in refused}

    async def resume(_: Client, matter: Matter) -> bool:
        if matter.workflow_id in names:
            raise RPCError("busy", RPCStatusCode.RESOURCE_EXHAUSTED, b"")
        return True

    monkeypatch.setattr(start, "resume", resume)
    return CliRunner().invoke(app, ["resume"])


def test_a_call_that_temporal_refuses_stops_no_other_and_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, ordered: list[str]
) -> None:
    done = _resumed(monkeypatch, {1, resuming.AT_ONCE})
    lines = [
        f"{of_account(UUID(int=n)).workflow_id}: RESOURCE_EXHAUSTED: busy"
        for n in (1, resuming.AT_ONCE)
    ]
    count = PAGES * resuming.AT_ONCE - 2
    assert done.exit_code == 1
    assert len(ordered) == count
    assert f"{count} halted matters were resumed; Temporal took no call for 2," in done.stdout
    assert done.stderr.splitlines() == lines


def test_where_every_call_of_a_page_fails_the_rest_is_left_for_the_hour(
    monkeypatch: pytest.MonkeyPatch, ordered: list[str]
) -> None:
    done = _resumed(monkeypatch, set(range(resuming.AT_ONCE, PAGES * resuming.AT_ONCE)))
    assert done.exit_code == 1
    assert len(ordered) == len(done.stderr.splitlines()) == resuming.AT_ONCE
    assert f"no worker answered for {resuming.AT_ONCE}, which try again within" in done.stdout


def test_where_temporal_takes_every_call_the_command_ends_well(
    monkeypatch: pytest.MonkeyPatch, ordered: list[str]
) -> None:
    done = _resumed(monkeypatch, set())
    assert (done.exit_code, done.stderr, len(ordered)) == (0, "", PAGES * resuming.AT_ONCE)
