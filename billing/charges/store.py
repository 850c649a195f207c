"""Queries on uses that a card pays at once."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.charges.rules import ChargeState, agenda
from billing.core import ids
from billing.core.agenda import head
from billing.core.errors import NotFound
from billing.core.matters import workflow_id
from billing.core.money import show_decimal
from billing.core.prepared import Prepared
from billing.dunning import store as dunning
from billing.events.tables import WAITING_MARKS
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.invoices.tables import invoices as invoice_rows

_STATE: Final = f"""
SELECT r.billing_status, r.total_amount, r.currency, a.clock_at,
       (SELECT i.created_at FROM invoices i
        WHERE i.workflow_id = :workflow_id AND i.status = 'draft') AS begun_at,
       {WAITING_MARKS} AS events
FROM billing_records r JOIN accounts a ON a.id = r.account_id
WHERE r.id = :record_id
"""  # noqa: S608 - put together from constants
_READ = Prepared(text(_STATE))
_LOCK = Prepared(text(_STATE + "FOR NO KEY UPDATE OF r"))


async def state(connection: AsyncConnection, record_id: UUID, *, lock: bool = False) -> ChargeState:
    """The rows' word about one charge, optionally under its record's lock."""
    matter = workflow_id("charge", record_id)
    row = await (_LOCK if lock else _READ).first(
        connection, record_id=record_id, workflow_id=matter
    )
    if row is None:
        raise NotFound("BILLING_RECORD_NOT_FOUND", "no such billing record")
    found = await dunning.collecting(connection, matter, pay_first=True)
    known = ChargeState(
        clock_at=row["clock_at"],
        status=row["billing_status"],
        charge=ids.encode(ids.BILLING_RECORD, record_id),
        invoice=found[0] if found else None,
        begun_at=row["begun_at"],
        events=tuple(row["events"]),
    )
    step = head(agenda(known))
    what = f"{show_decimal(row['total_amount'])} {row['currency']}"
    words = f"**{known.status}** {what}: {step.words if step else 'nothing to do'}"
    return known.model_copy(update={"words": words})


async def draft_of(connection: AsyncConnection, record_id: UUID) -> Invoice | None:
    """The draft that a charge is paying now."""
    found = await invoices.of_matter(connection, workflow_id("charge", record_id), ["draft"])
    return found[0] if found else None


async def count(connection: AsyncConnection, record_id: UUID) -> int:
    """How often a card was to pay this use."""
    query = select(func.count()).where(
        invoice_rows.c.workflow_id == workflow_id("charge", record_id)
    )
    return int(await connection.scalar(query) or 0)
