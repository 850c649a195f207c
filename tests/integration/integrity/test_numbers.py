"""Numbers of a series are held against its counter, and those that were proven not read again."""

import re
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.insight.integrity import numbers
from tests.integration.actors import Actors
from tests.integration.one_connection import seen_by

SERIES: Final = "INV-NUMBER"
COUNTER: Final = f"INSERT INTO invoice_series VALUES ('{SERIES}', :last, '2027-01-01')"
GIVEN: Final = f"""
    INSERT INTO invoices (id, account_id, workflow_id, fact_key, status, series, number, currency,
        subtotal_minor, total_minor, amount_due_minor, created_at)
    SELECT uuidv7(), :account, 'charge/none', '{SERIES}/' || n, 'void', '{SERIES}',
        '{SERIES}-' || lpad(n::text, greatest(6, length(n::text)), '0'), 'USD', 0, 0, 0, now()
    FROM unnest(CAST(:numbers AS bigint[])) AS n"""
SKIPPED: Final = f"""
    INSERT INTO skipped_numbers (id, series, first_number, last_number, reason, at)
    VALUES (uuidv7(), '{SERIES}', :first, :last, 'restored', now())"""


class Book:
    """A series whose numbers are written by hand."""

    def __init__(self, connection: AsyncConnection, account: Any) -> None:
        self.connection, self.account = connection, account

    async def write(self, statement: str, **values: Any) -> None:
        await self.connection.execute(text(statement), values)

    async def give(self, *given: int) -> None:
        await self.write(GIVEN, account=self.account, numbers=list(given))

    async def wrong(self, *, anew: bool = True, days: int = 0) -> list[str]:
        now = real_now() + timedelta(days=days)
        found = await numbers.look(seen_by(self.connection), now, anew=anew)
        return [name for one in found for name in one.examples if name.startswith(SERIES)]


@pytest.fixture
async def book(actors: Actors, superuser: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setattr(numbers, "PART", 3)
    return Book(superuser, (await actors.customer()).uuid)


async def test_a_series_without_a_gap_is_well_across_pages_and_widths(book: Book) -> None:
    await book.write(COUNTER, last=1_000_002)
    proven = f"INSERT INTO proven_series VALUES ('{SERIES}', 999996, :at)"
    await book.write(proven, at=real_now())
    await book.write(SKIPPED, first=999_998, last=1_000_000)
    await book.give(999_997, 1_000_001, 1_000_002)
    assert await book.wrong(anew=False) == []


async def test_a_missing_number_is_named_and_found_until_it_is_there(book: Book) -> None:
    await book.write(COUNTER, last=8)
    await book.give(1, 2, 3, 4, 6, 7)
    for anew in (True, False, False):
        assert await book.wrong(anew=anew) == [f"{SERIES}-000005"], "the first page with any"
    await book.give(5)
    assert await book.wrong(anew=False) == [f"{SERIES}-000008"]
    await book.give(8)
    assert await book.wrong(anew=False) == []


@pytest.mark.parametrize("last", [0, 2])
async def test_a_counter_that_fell_behind_is_found(book: Book, last: int) -> None:
    if last:
        await book.write(COUNTER, last=last)
    await book.give(1, 2, 3)
    assert await book.wrong() == [f"{SERIES}-{last + 1:06d}"]


async def test_a_counter_behind_what_was_skipped_is_found(book: Book) -> None:
    await book.write(COUNTER, last=1)
    await book.give(1)
    await book.write(SKIPPED, first=2, last=9)
    assert await book.wrong() == [f"{SERIES}-000002"]


async def test_a_number_that_was_skipped_and_given_is_found(book: Book) -> None:
    await book.write(COUNTER, last=3)
    await book.give(1, 2, 3)
    await book.write(SKIPPED, first=2, last=2)
    assert await book.wrong() == [f"{SERIES}-000002"]


async def test_numbers_that_are_proven_are_read_again_within_a_week(book: Book) -> None:
    await book.write(COUNTER, last=4)
    await book.give(1, 2, 3, 4)
    assert await book.wrong(anew=False) == []
    await book.write(f"DELETE FROM invoice_series WHERE series = '{SERIES}'")
    await book.write(COUNTER, last=5)
    await book.give(5)
    # A superuser's hand: numbered invoices refuse it.
    await book.write("SET LOCAL session_replication_role = replica")
    await book.write(f"DELETE FROM invoices WHERE number = '{SERIES}-000002'")
    assert await book.wrong(anew=False) == []
    assert await book.wrong() == [f"{SERIES}-000002"], "a look at everything reads them all"
    assert await book.wrong(anew=False, days=8) == [f"{SERIES}-000002"]


@pytest.mark.parametrize("query", ["_LISTED", "_WRONG"])
async def test_numbers_are_found_by_index(superuser: AsyncConnection, query: str) -> None:
    """However many invoices there are."""
    many = (
        "UPDATE pg_class SET reltuples = 10000000, relpages = 1"
        " WHERE relname IN ('invoices', 'credit_notes')"
    )
    await superuser.execute(text(many))
    await numbers.prepare(superuser)
    statement = getattr(numbers, query)
    values = {"series": SERIES, "first": 1, "last": numbers.PART}
    wanted = {name: values[name] for name in statement.compile().params}
    plan = "\n".join(await superuser.scalars(text(f"EXPLAIN {statement.text}"), wanted))
    for table in ("invoices", "credit_notes"):
        found = [line for line in plan.splitlines() if f" on {table}" in line]
        assert found, plan
        assert all(re.search(r"Scan using \w+_number on", line) for line in found), plan
    assert "hashed" not in plan
