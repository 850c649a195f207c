"""Queries on uses that a card pays at once."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters.kinds import CHARGE
from billing.money.invoices.tables import invoices


async def count(connection: AsyncConnection, record_id: UUID) -> int:
    """Count the card payments made for this use."""
    query = select(func.count()).where(invoices.c.workflow_id == CHARGE.workflow_id(record_id))
    return int(await connection.scalar(query) or 0)
