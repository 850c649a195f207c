"""Months of billing_records: each is a partition, made before its first use can come."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.metering.usage import rules
from billing.metering.usage.tables import billing_records

AHEAD: Final = 6
"""So many months are made beyond this one: nobody has to be quick when the job does not run."""
_MAKE: Final = text("SELECT usage_make_months(:ahead)")
_RECORDED: Final = text(
    "SELECT asked FROM unnest(usage_own_records(CAST(:ids AS uuid[]))"
    " || usage_repeats(CAST(:ids AS uuid[])))"
)


async def make(connection: AsyncConnection, ahead: int = AHEAD) -> int:
    """Make the months that are missing; answers how many."""
    return int((await connection.execute(_MAKE, {"ahead": ahead})).scalar_one())


async def existing(connection: AsyncConnection, record_ids: Collection[UUID]) -> set[UUID]:
    """Those of these ids whose event has a record, of this month or of one before it."""
    return set(await connection.scalars(_RECORDED, {"ids": list(record_ids)}))


def found_by(record_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """A record by its id, in the one or two months that may have it."""
    record = billing_records.c
    months = (func.usage_month_of(record_id, False), rules.FIRST_MONTH)
    return record.id == record_id, record.month.in_(months)
