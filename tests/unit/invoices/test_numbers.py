"""A row with a number is one statement: whoever waits for the series waits for nothing else."""

from datetime import UTC, date, datetime
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared
from billing.matters.effects import Add, Change
from billing.money.invoices import store
from billing.money.invoices.schemas import CreditNote, Invoice

NOWHERE = cast(AsyncConnection, None)
DAY = date(2027, 1, 1)
NOTE = CreditNote(
    id=ids.new(),
    account_id=ids.new(),
    invoice_id=ids.new(),
    kind="operator",
    fact_key="note",
    series="CN",
    reason="goodwill",
    amount_minor=1,
    currency="EUR",
    created_at=datetime(2027, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("row", "written"),
    [
        (Add(NOTE), "INSERT INTO credit_notes"),
        (Change(Invoice, ids.new(), {"status": "open"}), "UPDATE invoices SET"),
    ],
)
async def test_a_row_and_its_number_are_one_statement(
    row: Add | Change, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Cursor:
        async def execute(self, sql: bytes, values: list[Any], **_: object) -> None:
            asked.append(sql.decode())

    monkeypatch.setattr(prepared, "driver_of", lambda _: None)
    monkeypatch.setattr(psycopg, "AsyncRawCursor", lambda *_, **__: Cursor())
    await store.issue(NOWHERE, row=row, series="CN", on=DAY)
    (sql,) = asked
    assert sql.count("INSERT INTO invoice_series") == 1
    assert written in sql
