"""Queries on dunning cases."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared, row_writes
from billing.core.errors import NotFound
from billing.core.prepared import Fields, Prepared, given
from billing.money.dunning.schemas import CustomerPause, DunningCase
from billing.money.dunning.tables import dunning_cases, dunning_pauses

_OF_INVOICE = Prepared(
    select(dunning_cases).where(dunning_cases.c.invoice_id == given("invoice_id"))
)

_OWES = Prepared(
    text("SELECT EXISTS (SELECT FROM usage_overdue(ARRAY[CAST(:account_id AS uuid)]))")
)

ALL_PAUSED: Final = "EXISTS (SELECT FROM dunning_pauses x WHERE x.account_id = a.id) AS all_paused"
"""The column of a decision's query that says if cases of the account `a` open paused."""


async def owes(connection: AsyncConnection, account_id: UUID) -> bool:
    """Return True if an invoice of the account is overdue, or was given up."""
    return bool(await _OWES.scalar(connection, account_id=account_id))


async def find_of_invoice(connection: AsyncConnection, invoice_id: UUID) -> DunningCase | None:
    """Return the case of an invoice, open or closed."""
    row = await _OF_INVOICE.first(connection, invoice_id=invoice_id)
    return show(row) if row else None


async def of_invoices(
    connection: AsyncConnection, invoice_ids: Collection[UUID]
) -> dict[UUID, DunningCase]:
    """Return the cases of some invoices, open or closed, by invoice."""
    if not invoice_ids:
        return {}
    query = select(dunning_cases).where(dunning_cases.c.invoice_id.in_(invoice_ids))
    rows = await connection.execute(query)
    return {row["invoice_id"]: show(row) for row in rows.mappings()}


async def of_invoice(connection: AsyncConnection, invoice_id: UUID) -> DunningCase:
    """Return the case of an invoice, open or closed. Errors: DUNNING_CASE_NOT_FOUND."""
    case = await find_of_invoice(connection, invoice_id)
    if case is None:
        raise NotFound("DUNNING_CASE_NOT_FOUND", "this invoice has no dunning case")
    return case


async def get(connection: AsyncConnection, case_id: UUID, *, lock: bool = False) -> DunningCase:
    """Return one case, optionally locked. Errors: DUNNING_CASE_NOT_FOUND."""
    query = select(dunning_cases).where(dunning_cases.c.id == case_id)
    row = await prepared.find(connection, query.with_for_update() if lock else query)
    if row is None:
        raise NotFound("DUNNING_CASE_NOT_FOUND")
    return show(row)


async def open_of(connection: AsyncConnection, account_id: UUID) -> list[DunningCase]:
    """Return the account's open cases, paused or not, oldest first."""
    of = dunning_cases.c
    query = listing(account_id=account_id).where(of.status.in_(("open", "paused")))
    rows = await connection.execute(query.order_by(of.opened_at, of.id))
    return [show(row) for row in rows.mappings()]


async def customer_pause(connection: AsyncConnection, account_id: UUID) -> CustomerPause | None:
    """Return the pause of all of the account's recovery, if one stands."""
    query = select(dunning_pauses).where(dunning_pauses.c.account_id == account_id)
    row = await prepared.find(connection, query)
    return CustomerPause.model_validate(dict(row)) if row else None


async def begin_customer_pause(connection: AsyncConnection, pause: CustomerPause) -> None:
    """Write a pause of all of an account's recovery."""
    await row_writes.add(connection, dunning_pauses, pause.model_dump())


async def end_customer_pause(connection: AsyncConnection, account_id: UUID) -> None:
    """Delete the pause of all of an account's recovery."""
    await connection.execute(
        delete(dunning_pauses).where(dunning_pauses.c.account_id == account_id)
    )


def listing(*, status: str | None = None, account_id: UUID | None = None) -> Select[Any]:
    """Select cases for operators; the caller sorts and limits."""
    query = select(dunning_cases)
    if status is not None:
        query = query.where(dunning_cases.c.status == status)
    return query if account_id is None else query.where(dunning_cases.c.account_id == account_id)


def show(row: Fields) -> DunningCase:
    """Return a row as a case."""
    return DunningCase.model_validate(dict(row))
