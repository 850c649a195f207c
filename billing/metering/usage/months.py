"""Months of billing_records: each is a partition, created before its first use can arrive."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Subquery, and_, any_, exists, func, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import BillingError, Conflict, NotFound
from billing.ledger.credits.tables import credit_transactions
from billing.metering.usage import rules
from billing.metering.usage.tables import billing_records, month_files

AHEAD: Final = 6
"""Months created in advance, which leaves time to act when the job does not run."""
_MAKE: Final = text("SELECT usage_make_months(:ahead)")
_RECORDED: Final = text(
    "SELECT asked FROM unnest(usage_own_records(CAST(:ids AS uuid[]))"
    " || usage_repeats(CAST(:ids AS uuid[])))"
)
_HERE: Final = text(
    """
    SELECT asked FROM unnest(CAST(:ids AS uuid[])) AS asked
    WHERE EXISTS (
        SELECT FROM billing_records AS r
        WHERE r.id = asked AND r.month = ANY (usage_record_months(asked)))
    """
)
_UNSEEN: Final = text(
    """
    SELECT t.id FROM credit_transactions AS t
    WHERE t.account_id = :account_id AND t.id = ANY(CAST(:entries AS uuid[]))
        AND t.kind IN ('debit', 'capture', 'void')
        AND EXISTS (SELECT FROM month_files WHERE is_away)
        AND NOT EXISTS (
            SELECT FROM billing_records AS r
            WHERE r.account_id = t.account_id AND r.transaction_id = t.id
                AND r.month = ANY (usage_entry_months(t.id, t.key, t.subject)))
        AND NOT EXISTS (SELECT FROM capture_logs AS c WHERE c.transaction_id = t.id)
    """
)


async def make(connection: AsyncConnection, ahead: int = AHEAD) -> int:
    """Create the missing months; return how many."""
    return int((await connection.execute(_MAKE, {"ahead": ahead})).scalar_one())


async def existing(connection: AsyncConnection, record_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids whose event has a record, in this month or an earlier one."""
    return set(await connection.scalars(_RECORDED, {"ids": list(record_ids)}))


async def are_away(connection: AsyncConnection) -> bool:
    """Return True if any month is archived."""
    return bool(await connection.scalar(select(exists().where(month_files.c.is_away))))


async def here(connection: AsyncConnection, record_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these records whose months are not archived."""
    if not record_ids:
        return set()
    return set(await connection.scalars(_HERE, {"ids": list(record_ids)}))


def found_by(record_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """Match a record by its id, in the one or two months that may contain it."""
    record = billing_records.c
    return record.id == record_id, record.month == any_(func.usage_record_months(record_id))


def behind(entries: Collection[UUID]) -> Subquery:
    """Select the records that these ledger entries paid or refunded; OFFSET 0 has each entry looked
    up by itself, in the few months that may contain its records.
    """
    record, entry = billing_records.c, credit_transactions.c
    may_contain = func.usage_entry_months(entry.id, entry.key, entry.subject)
    paid = (
        select(record.id, record.account_id, record.user_id, record.transaction_id)
        .where(record.transaction_id == entry.id, record.month == any_(may_contain))
        .offset(0)
        .lateral("paid")
    )
    found = select(paid).select_from(credit_transactions.join(paid, true()))
    return found.where(entry.id.in_(entries)).subquery("behind")


async def unseen(
    connection: AsyncConnection, account_id: UUID, entries: Collection[UUID]
) -> set[UUID]:
    """Return the ledger entries that paid uses, or refunded voided ones, in archived months."""
    values = {"account_id": account_id, "entries": list(entries)}
    return set(await connection.scalars(_UNSEEN, values))


async def missing(connection: AsyncConnection, record_id: UUID) -> BillingError:
    """Return the error for a missing record: BILLING_RECORD_AWAY if its month is archived, else
    BILLING_RECORD_NOT_FOUND.
    """
    one = month_files.c
    # The first month contains ids without a month, and ids from before it ended.
    in_first = and_(
        one.month == rules.FIRST_MONTH, func.usage_month_of(record_id, True) < one.until
    )
    query = select(one.written_at).where(
        one.is_away,
        or_(one.month == func.usage_month_of(record_id, False), in_first),
    )
    if await connection.scalar(query.limit(1)) is None:
        return NotFound("BILLING_RECORD_NOT_FOUND")
    return Conflict("BILLING_RECORD_AWAY")
