"""The facts behind postings, each from a column that no later fact changes.

So a month that is over gives the same postings again: a refund that the bank returned later, or a
dispute that was won after its loss, is a document of its own, of its own day.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Select, Table, and_, case, cast, func, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.insight.accounting.chart import CHART, LedgerAccount
from billing.insight.accounting.rules import Document, Posting, postings
from billing.money.disputes.tables import disputes
from billing.money.invoices.tables import balance_entries, credit_notes, invoices
from billing.money.payments.tables import payments
from billing.money.refunds.tables import refunds
from billing.platform.accounts.tables import accounts

PAGE: Final = 2_000
"""Rows of a table that one page looks at: each page is a short transaction."""
_BEGIN: Final = (0, UUID(int=0))
Mark = tuple[int, UUID]
"""The number of a source, and the last row of it that was read."""


class Asked(NamedTuple):
    """The wanted days, both inclusive, and the account; None: all but test accounts."""

    first: date
    last: date
    account_id: UUID | None


class Source(NamedTuple):
    """A table whose rows are documents, or some of its rows."""

    kind: str
    table: Table
    prefix: str
    """Of the document's id; without one its number is its id."""
    day: ColumnElement[Any]
    minor: Mapping[LedgerAccount, ColumnElement[Any]]
    only: ColumnElement[bool]
    number: ColumnElement[Any] = null()
    """The document's own number; without one its id is shown."""
    suffix: str = ""
    """Distinguishes a second document of the same row."""


def _day(instant: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.timezone("UTC", instant), Date)


def _of_dispute(key: ColumnElement[Any]) -> ColumnElement[bool]:
    """True for what a dispute credited, or moved on the money balance, by its key."""
    return key.regexp_match(f"[-/]{ids.DISPUTE}_")


def _split(is_disputed: ColumnElement[bool], minor: ColumnElement[Any]) -> dict[Any, Any]:
    """Book to `disputes` what belongs to one, else to `receivable`."""
    return {
        "disputes": case((is_disputed, minor), else_=0),
        "receivable": case((is_disputed, 0), else_=minor),
    }


_I, _N, _P, _R, _D, _B = (
    table.c for table in (invoices, credit_notes, payments, refunds, disputes, balance_entries)
)
_SENT: Final = and_(_R.booked_at.is_not(None), _R.way != "balance")
_LOST: Final = _D.booked_at.is_not(None)
_ADJUSTED: Final = _B.kind == "adjusted"
_ENTRY: Final = case((_ADJUSTED, 0), else_=_B.amount_minor)
SOURCES: Final = (
    Source(
        "invoice", invoices, ids.INVOICE, _I.issued_on,
        {"receivable": _I.total_minor, "revenue": _I.tax_minor - _I.total_minor,
         "tax": -_I.tax_minor},
        _I.number.is_not(None), _I.number,
    ),
    Source(
        "credit_note", credit_notes, ids.CREDIT_NOTE, _N.issued_on,
        {"revenue": _N.amount_minor - _N.tax_minor, "tax": _N.tax_minor,
         **_split(_of_dispute(_N.fact_key), -_N.amount_minor)},
        _N.number.is_not(None), _N.number,
    ),
    Source(
        "payment", payments, ids.PAYMENT, _day(_P.settled_at),
        {"cash": _P.received_minor, "receivable": -_P.received_minor},
        _P.settled_at.is_not(None),
    ),
    Source(
        "refund", refunds, ids.REFUND, _day(_R.booked_at),
        {"receivable": _R.amount_minor, "cash": -_R.amount_minor},
        _SENT,
    ),
    Source(
        "refund_returned", refunds, ids.REFUND, _day(_R.finished_at),
        {"receivable": -_R.amount_minor, "cash": _R.amount_minor},
        and_(_SENT, _R.status == "failed"), suffix="/returned",
    ),
    Source(
        "dispute_lost", disputes, ids.DISPUTE, _day(_D.booked_at),
        {"disputes": _D.amount_minor, "cash": -_D.amount_minor},
        _LOST,
    ),
    Source(
        "dispute_won", disputes, ids.DISPUTE, _day(_D.closed_at),
        {"disputes": -_D.amount_minor, "cash": _D.amount_minor},
        and_(_LOST, _D.state == "won"), suffix="/won",
    ),
    Source(
        "balance_entry", balance_entries, "", _day(_B.at),
        {"customer_balance": -_B.amount_minor,
         "adjustments": case((_ADJUSTED, _B.amount_minor), else_=0),
         **_split(_of_dispute(_B.key), _ENTRY)},
        _B.amount_minor != 0, _B.key,
    ),
)  # fmt: skip


async def page(
    connection: AsyncConnection, asked: Asked, after: Mark | None
) -> tuple[list[Posting], Mark | None]:
    """Return the postings of the next rows, by source and id, and the mark of the next page."""
    number, last = after or _BEGIN
    source, until = SOURCES[number], await _end(connection, asked, number, last)
    rows = await connection.execute(_query(source, asked, last, until))
    found = [one for row in rows.mappings() for one in postings(_document(source, row))]
    if until is not None:
        return found, (number, until)
    return found, (number + 1, _BEGIN[1]) if number + 1 < len(SOURCES) else None


async def _end(connection: AsyncConnection, asked: Asked, number: int, last: UUID) -> UUID | None:
    """Return the last row that a page looks at; None: it reaches the end of the table."""
    row = SOURCES[number].table.c
    query = select(row.id).where(row.id > last).order_by(row.id).offset(PAGE - 1).limit(1)
    if asked.account_id is not None:
        query = query.where(row.account_id == asked.account_id)
    found: UUID | None = await connection.scalar(query)
    return found


def _query(source: Source, asked: Asked, last: UUID, until: UUID | None) -> Select[Any]:
    row = source.table.c
    query = (
        select(
            row.id, row.account_id, row.currency, source.number.label("number"),
            source.day.label("day"),
            *(minor.label(name) for name, minor in source.minor.items()),
        )
        .where(source.only, source.day.between(asked.first, asked.last), row.id > last)
        .order_by(row.id)
    )  # fmt: skip
    if until is not None:
        query = query.where(row.id <= until)
    if asked.account_id is not None:
        return query.where(row.account_id == asked.account_id)
    return query.join(accounts, accounts.c.id == row.account_id).where(~accounts.c.is_test)


def _document(source: Source, row: Mapping[Any, Any]) -> Document:
    name = ids.encode(source.prefix, row["id"]) if source.prefix else row["number"]
    minor: dict[LedgerAccount, int] = {one: row[one] for one in CHART if one in source.minor}
    number = row["number"] or name
    return Document(
        source.kind, name + source.suffix, number, row["account_id"], row["day"], row["currency"],
        minor,
    )  # fmt: skip
