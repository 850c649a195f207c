"""The facts behind postings, each from a column that no later fact changes.

So a month that is over gives the same postings again: a refund that the bank returned later, or a
dispute that was won after its loss, is a document of its own, of its own day.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Date,
    ScalarSelect,
    Select,
    Table,
    and_,
    case,
    null,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.insight.accounting.chart import CHART, LedgerAccount
from billing.insight.accounting.rules import Document, Posting, postings
from billing.money.disputes.tables import disputes
from billing.money.invoices.balances import ADJUSTMENTS
from billing.money.invoices.tables import balance_entries, credit_notes, invoices
from billing.money.payments.tables import payments
from billing.money.refunds.tables import refunds
from billing.platform.accounts.tables import accounts, issuers

PAGE: Final = 2_000
"""Documents of one page: each page is a short transaction."""
Place = tuple[date | datetime, UUID]
"""The moment and the id of a row: both in order, by an index of each source."""
Mark = tuple[int, Place | None]
"""The number of a source, and the last row of it that was read, if any."""


class AskedDays(NamedTuple):
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
    moment: Column[Any]
    """Its UTC day, or an instant of that day."""
    minor: Mapping[LedgerAccount, ColumnElement[Any]]
    only: ColumnElement[bool]
    number: ColumnElement[Any] = null()
    """The document's own number; without one its id is shown."""
    suffix: str = ""
    """Distinguishes a second document of the same row."""


def _of_dispute(key: ColumnElement[Any]) -> ColumnElement[bool]:
    """True for what a dispute moved on the money balance, by its key."""
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
_ASKED: Final = _D.amount_minor + _D.returned_minor
_ENTRY: Final = case((_B.kind.in_(ADJUSTMENTS), 0), else_=_B.amount_minor)


def _of_kind(kind: str) -> ColumnElement[Any]:
    """Book what adjustments of this kind have moved."""
    return case((_B.kind == kind, _B.amount_minor), else_=0)


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
         **_split(_N.kind == "dispute", -_N.amount_minor)},
        _N.number.is_not(None), _N.number,
    ),
    Source(
        "payment", payments, ids.PAYMENT, _P.settled_at,
        {"cash": _P.received_minor, "receivable": -_P.received_minor},
        _P.settled_at.is_not(None),
    ),
    Source(
        "refund", refunds, ids.REFUND, _R.booked_at,
        {"receivable": _R.amount_minor, "cash": -_R.amount_minor},
        _SENT,
    ),
    Source(
        "refund_returned", refunds, ids.REFUND, _R.finished_at,
        {"receivable": -_R.amount_minor, "cash": _R.amount_minor},
        and_(_SENT, _R.status == "failed"), suffix="/returned",
    ),
    Source(
        "dispute_lost", disputes, ids.DISPUTE, _D.booked_at,
        {"disputes": _ASKED, "cash": -_ASKED},
        _LOST,
    ),
    Source(
        "dispute_returned", disputes, ids.DISPUTE, _D.returned_at,
        {"disputes": -_D.returned_minor, "cash": _D.returned_minor},
        _D.returned_at.is_not(None), suffix="/returned",
    ),
    Source(
        "dispute_won", disputes, ids.DISPUTE, _D.closed_at,
        {"disputes": -_D.amount_minor, "cash": _D.amount_minor},
        and_(_LOST, _D.state == "won"), suffix="/won",
    ),
    Source(
        "balance_entry", balance_entries, "", _B.at,
        {"customer_balance": -_B.amount_minor,
         "adjustments": _of_kind("adjusted"), "cash": _of_kind("found"),
         **_split(_of_dispute(_B.key), _ENTRY)},
        _B.amount_minor != 0, _B.key,
    ),
)  # fmt: skip


async def page(
    connection: AsyncConnection, asked: AskedDays, after: Mark | None
) -> tuple[list[Posting], Mark | None]:
    """Return the postings of the next rows, by source and moment, and the mark of the next page."""
    number, last = after or (0, None)
    source = SOURCES[number]
    rows = (await connection.execute(query(source, asked, last))).mappings().all()
    found = [one for row in rows for one in postings(_document(source, row))]
    if len(rows) == PAGE:
        return found, (number, (rows[-1]["moment"], rows[-1]["id"]))
    return found, (number + 1, None) if number + 1 < len(SOURCES) else None


def query(source: Source, asked: AskedDays, last: Place | None) -> Select[Any]:
    """Select the next documents of a source; an index of its moments has their order."""
    row, key = source.table.c, (source.moment, source.table.c.id)
    found = (
        select(
            row.id, row.account_id, row.currency, source.number.label("number"),
            source.moment.label("moment"), _issuer(source.table).label("issuer"),
            *(minor.label(name) for name, minor in source.minor.items()),
        )
        .where(source.only, *_within(source.moment, asked))
        .order_by(*key)
        .limit(PAGE)
    )  # fmt: skip
    if last is not None:
        found = found.where(tuple_(*key) > last)
    if asked.account_id is not None:
        return found.where(row.account_id == asked.account_id)
    return found.join(accounts, accounts.c.id == row.account_id).where(~accounts.c.is_test)


def _issuer(table: Table) -> ScalarSelect[Any]:
    """Select the key of the seller whose invoice a row of the table is, or belongs to."""
    if table is invoices:
        return select(issuers.c.key).where(issuers.c.id == _I.issuer_id).scalar_subquery()
    sold = select(issuers.c.key).join(invoices, _I.issuer_id == issuers.c.id)
    return sold.where(_I.id == table.c.invoice_id).scalar_subquery()


def _within(
    moment: Column[Any], asked: AskedDays
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    begin, end = asked.first, asked.last + timedelta(days=1)
    if not isinstance(moment.type, Date):
        begin, end = (datetime.combine(day, time(), UTC) for day in (begin, end))
    return moment >= begin, moment < end


def _document(source: Source, row: Mapping[Any, Any]) -> Document:
    name = ids.encode(source.prefix, row["id"]) if source.prefix else row["number"]
    minor: dict[LedgerAccount, int] = {one: row[one] for one in CHART if one in source.minor}
    number, moment = row["number"] or name, row["moment"]
    day = moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment
    return Document(
        source.kind, name + source.suffix, number, row["account_id"], day, row["currency"], minor,
        row["issuer"],
    )  # fmt: skip
