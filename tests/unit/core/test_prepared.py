"""A prepared statement knows what it must be given, and fails before it asks the database."""

from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared, row_writes
from billing.core.prepared import Prepared, given
from billing.money.payments.tables import payments

BY_ID = Prepared(
    select(payments.c.id).where(
        payments.c.id == given("payment_id"),
        payments.c.flow == "card",
        payments.c.status.in_(["pending", "processing"]),
    )
)


class Driver:
    """Stands where psycopg does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self.rowcount = 1

    async def execute(self, sql: bytes, values: list[Any], **_: object) -> "Driver":
        """Keep the question."""
        self.asked.append((sql.decode(), values))
        return self

    async def fetchone(self) -> None:
        """No row."""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """The driver underneath every connection; it is its own cursor."""
    known = Driver()
    monkeypatch.setattr(prepared, "driver_of", lambda _: known)
    monkeypatch.setattr(psycopg, "AsyncRawCursor", lambda *_, **__: known)
    return known


NOWHERE = cast(AsyncConnection, None)


async def test_constants_go_along_with_what_is_given(driver: Driver) -> None:
    assert await BY_ID.first(NOWHERE, payment_id="p1") is None
    ((sql, values),) = driver.asked
    assert sql.startswith("SELECT payments.id")
    assert sorted(values) == ["card", "p1", "pending", "processing"]


async def test_a_value_that_is_named_twice_has_one_place(driver: Driver) -> None:
    twice = Prepared(text("SELECT :one, :two, :one LIKE '%'"))
    await twice.run(NOWHERE, two="b", one="a")
    assert driver.asked == [("SELECT $1, $2, $1 LIKE '%'", ["a", "b"])]


@pytest.mark.parametrize("values", [{}, {"payment_id": 1, "more": 2}, {"other": 1}])
async def test_a_value_too_few_or_too_many_is_refused(
    driver: Driver, values: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="values differ by"):
        await BY_ID.first(NOWHERE, **values)
    assert not driver.asked


async def test_json_is_encoded_as_the_column_wants_it(driver: Driver) -> None:
    put = Prepared(text("SELECT :facts").bindparams(bindparam("facts", type_=JSONB)))
    await put.run(NOWHERE, facts={"a": 1})
    assert type(driver.asked[0][1][0]).__name__ == "Jsonb"


async def test_a_row_there_must_be_is_missed(driver: Driver) -> None:
    with pytest.raises(LookupError, match="found no row"):
        await BY_ID.one(NOWHERE, payment_id="p1")


async def test_one_statement_is_kept_per_set_of_columns(driver: Driver) -> None:
    for status in ("failed", "canceled"):
        with pytest.raises(LookupError):
            await row_writes.change(NOWHERE, payments, "p1", status=status)
    first, second = (sql for sql, _ in driver.asked)
    assert first == second
