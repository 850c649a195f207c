"""A number that nobody reads before the commit is taken with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters.effects import Change, Issue
from billing.money.invoices.schemas import Invoice
from billing.platform.decisions import writer
from billing.platform.outbox import service as outbox

NOWHERE = cast(AsyncConnection, None)
AT = datetime(2027, 1, 1, tzinfo=UTC)
ISSUE = Issue(Change(Invoice, uuid4(), {"status": "open"}), "INV")


class _Answer:
    rowcount = 1

    async def fetchone(self) -> dict[str, Any]:
        return {"number": "INV-000001"}


@pytest.mark.parametrize("read_again", [True, False])
async def test_a_number_is_taken_now_or_with_the_commit(
    read_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    left: list[Callable[[AsyncConnection], Awaitable[Any]]] = []

    async def issue(_: AsyncConnection, *, series: str, **__: Any) -> _Answer:
        taken.append(series)
        return _Answer()

    async def nothing(_: AsyncConnection) -> None:
        return None

    @asynccontextmanager
    async def at_once(_: AsyncConnection) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(writer, "pipeline", at_once)
    monkeypatch.setattr(outbox, "flush", nothing)
    monkeypatch.setattr(writer, "write_shared", nothing)
    monkeypatch.setattr(writer, "with_commit", lambda _, send: left.append(send))
    verbs = {writer.ISSUE: issue}
    changes, _ = await writer.write(NOWHERE, [ISSUE], AT, verbs, read_again=read_again)
    assert [dict(one.fields) for one in changes] == ([{"number": "INV-000001"}] * read_again)
    assert taken == ["INV"] * read_again
    for send in left:
        await send(NOWHERE)
    assert taken == ["INV"]
