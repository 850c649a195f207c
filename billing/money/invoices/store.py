"""Queries on invoices, their lines, series and credit notes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    cast,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared, row_writes
from billing.core.database import metadata
from billing.core.errors import NotFound
from billing.core.prepared import Fields, Prepared, Sent, given, written
from billing.matters.effects import Add, Change
from billing.money.invoices.arrears import NAMED_USE
from billing.money.invoices.schemas import (
    PRORATION,
    CreditNote,
    Invoice,
    InvoiceCollection,
    InvoiceLine,
    InvoiceStatus,
)
from billing.money.invoices.series import DIGITS
from billing.money.invoices.tables import (
    credit_notes,
    invoice_lines,
    invoice_series,
    invoices,
)

_OF_ID = select(invoices).where(invoices.c.id == given("invoice_id"))
_GET = Prepared(_OF_ID)
_LOCK = Prepared(_OF_ID.with_for_update(key_share=True))
_LINES = Prepared(
    select(invoice_lines)
    .where(invoice_lines.c.invoice_id == given("invoice_id"))
    .order_by(invoice_lines.c.position)
)
_TO_PAY = Prepared(
    select(invoices)
    .where(
        invoices.c.subscription_id == given("subscription_id"),
        invoices.c.status != "void",
        or_(
            invoices.c.status != "draft", invoices.c.id == given("first"), given("drafts").is_(True)
        ),
    )
    .order_by(
        (invoices.c.id == given("first")).desc().nulls_last(),
        (invoices.c.status == "open").desc(),
        invoices.c.created_at.desc(),
        invoices.c.id.desc(),
    )
    .limit(1)
)
# The invoices whose money paid a part of one: its lines credit them, and their lines others.
_SOURCES = text(
    """
    WITH RECURSIVE source(id) AS (
        SELECT CAST(:invoice_id AS uuid)
        UNION
        SELECT (l.detail ->> 'invoice')::uuid
        FROM source o JOIN invoice_lines l ON l.invoice_id = o.id WHERE l.kind = 'proration')
    SELECT id FROM source WHERE id <> :invoice_id
    """
)
_TAKEN = cast(invoice_series.c.last_number, Text)
_NEXT: Final = (
    insert(invoice_series)
    .values(series=given("of_series"), last_number=1, last_issued_on=given("on_day"))
    .on_conflict_do_update(
        index_elements=[invoice_series.c.series],
        set_={
            "last_number": invoice_series.c.last_number + 1,
            "last_issued_on": func.greatest(invoice_series.c.last_issued_on, given("on_day")),
        },
    )
    .returning(
        invoice_series.c.series,
        (
            invoice_series.c.series
            + "-"
            + func.lpad(_TAKEN, func.greatest(DIGITS, func.length(_TAKEN)), "0")
        ).label("number"),
        invoice_series.c.last_issued_on.label("issued_on"),
    )
    .cte("taken")
)
_NUMBERED: Final = {one.name: select(one).scalar_subquery() for one in _NEXT.c}


async def get(connection: AsyncConnection, invoice_id: UUID) -> Invoice:
    """Return one invoice. Errors: INVOICE_NOT_FOUND."""
    return _there(await _GET.first(connection, invoice_id=invoice_id))


async def lock(connection: AsyncConnection, invoice_id: UUID) -> Invoice:
    """Return one invoice, locked until the transaction ends. Errors: INVOICE_NOT_FOUND."""
    return _there(await _LOCK.first(connection, invoice_id=invoice_id))


async def change(connection: AsyncConnection, invoice_id: UUID, **fields: Any) -> Invoice:
    """Overwrite fields that are not content, or the content of a draft."""
    return show(await row_writes.change(connection, invoices, invoice_id, **fields))


async def lines(connection: AsyncConnection, invoice_id: UUID) -> list[InvoiceLine]:
    """Return the lines of one invoice in order."""
    rows = await _LINES.all(connection, invoice_id=invoice_id)
    return [InvoiceLine.model_validate(row) for row in rows]


def listing(
    account_id: UUID | None,
    *,
    status: InvoiceStatus | None = None,
    collection: InvoiceCollection | None = None,
    number: str | None = None,
    for_member: bool = False,
) -> Select[Any]:
    """Select the account's invoices, or for operators those of all accounts; the caller sorts and
    limits. A member gets none of a single use.
    """
    query = select(invoices)
    if for_member:
        query = query.where(~is_of_use())
    if account_id is not None:
        query = query.where(invoices.c.account_id == account_id)
    if number is not None:
        query = query.where(invoices.c.number == number)
    if status is not None:
        query = query.where(invoices.c.status == written(status))
    if collection is not None:
        query = query.where(invoices.c.collection == written(collection))
    return query


def is_of_use() -> ColumnElement[bool]:
    """Match the invoices that bill one single use each."""
    return func.starts_with(invoices.c.fact_key, f"{ids.BILLING_RECORD}_")


async def of_matter(
    connection: AsyncConnection, workflow_id: str, statuses: Sequence[str]
) -> list[Invoice]:
    """Return the invoices that a matter collects, oldest first."""
    rows = await connection.execute(
        select(invoices)
        .where(invoices.c.workflow_id == workflow_id, invoices.c.status.in_(statuses))
        .order_by(invoices.c.created_at, invoices.c.id)
    )
    return [show(row) for row in rows.mappings()]


async def by_collector(
    connection: AsyncConnection, invoice_ids: Collection[UUID]
) -> dict[str, list[Invoice]]:
    """Return some invoices, oldest first, by the workflow id of the matter that collects them."""
    found: dict[str, list[Invoice]] = {}
    for invoice in (await by_id(connection, invoice_ids)).values():
        found.setdefault(invoice.workflow_id, []).append(invoice)
    return found


async def by_id(connection: AsyncConnection, invoice_ids: Collection[UUID]) -> dict[UUID, Invoice]:
    """Return some invoices, oldest first, by their id."""
    if not invoice_ids:
        return {}
    query = select(invoices).where(invoices.c.id.in_(invoice_ids))
    rows = await connection.execute(query.order_by(invoices.c.created_at, invoices.c.id))
    return {row["id"]: show(row) for row in rows.mappings()}


async def to_pay(
    connection: AsyncConnection, subscription_id: UUID, *, first: UUID | None, drafts: bool
) -> Invoice | None:
    """Return the invoice `first`, else the newest open one, else the newest; with `drafts` also
    drafts.
    """
    row = await _TO_PAY.first(
        connection, subscription_id=subscription_id, first=first, drafts=drafts
    )
    return show(row) if row else None


async def issue(connection: AsyncConnection, *, row: Add | Change, series: str, on: date) -> Sent:
    """Write a row with the next number of a series; return the fields that this sets.

    The series is locked from its number to the commit, so number and row are one statement.
    """
    if isinstance(row, Add):
        type_, fields, where = type(row.row), row.row.model_dump(exclude_unset=True), {}
    else:
        type_, fields, where = row.row_type, dict(row.fields), {"id_of_row": row.row_id}
    others = {name: value for name, value in fields.items() if name not in _NUMBERED}
    statement = _issuing(metadata.tables[type_.TABLE], tuple(others), adds=not where)
    return await statement.send(connection, of_series=series, on_day=on, **others, **where)


@cache
def _issuing(table: Table, columns: tuple[str, ...], *, adds: bool) -> Prepared:
    write = insert(table) if adds else update(table).where(table.c.id == given("id_of_row"))
    written = write.values({name: given(name) for name in columns} | _NUMBERED)
    return Prepared(written.returning(*(table.c[name] for name in _NUMBERED)))


async def credit_notes_of(connection: AsyncConnection, invoice_id: UUID) -> list[dict[str, Any]]:
    """Return the credit notes of one invoice, oldest first."""
    # They are found by their account: an operator's role has no policy that names it.
    account = select(invoices.c.account_id).where(invoices.c.id == invoice_id).scalar_subquery()
    rows = await connection.execute(
        select(credit_notes)
        .where(credit_notes.c.account_id == account, credit_notes.c.invoice_id == invoice_id)
        .order_by(credit_notes.c.created_at, credit_notes.c.id)
    )
    return [dict(row) for row in rows.mappings()]


def credit_notes_listing(
    account_id: UUID, invoice_id: UUID | None = None, *, for_member: bool
) -> Select[Any]:
    """Select the account's credit notes, or those of one invoice; the caller sorts and limits. A
    member gets none that credits a single use.
    """
    query = select(credit_notes).where(credit_notes.c.account_id == account_id)
    if for_member:
        of_use = exists().where(invoices.c.id == credit_notes.c.invoice_id, is_of_use())
        query = query.where(~of_use, ~credit_notes.c.reason.regexp_match(NAMED_USE))
    return query if invoice_id is None else query.where(credit_notes.c.invoice_id == invoice_id)


async def beside(connection: AsyncConnection, invoice: Invoice) -> list[UUID]:
    """Return the invoices with a line that credits a part of this one, and those that paid it."""
    line = invoice_lines.c
    rows = await connection.execute(
        select(line.invoice_id)
        .distinct()
        .join(invoices, invoices.c.id == line.invoice_id)
        .where(
            invoices.c.subscription_id == invoice.subscription_id,
            line.kind == PRORATION,
            line.detail["invoice"].astext == str(invoice.id),
        )
    )
    sources = await connection.execute(_SOURCES, {"invoice_id": invoice.id})
    return [*rows.scalars(), *sources.scalars()]


async def find_credit_note(connection: AsyncConnection, note_id: UUID) -> CreditNote | None:
    """Return one credit note, if it exists."""
    row = await prepared.find(connection, select(credit_notes).where(credit_notes.c.id == note_id))
    return CreditNote.model_validate(dict(row)) if row else None


def show(row: Fields) -> Invoice:
    """Return a row as an invoice."""
    return Invoice.model_validate(dict(row))


def _there(row: Mapping[str, Any] | None) -> Invoice:
    if row is None:
        raise NotFound("INVOICE_NOT_FOUND")
    return show(row)
