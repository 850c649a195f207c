"""The lots that an entry of the ledger could choose from, and the uses that it paid."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.explanations.rules import ORDERED
from billing.insight.explanations.schemas import LotFacts
from billing.ledger.credits.schemas import Transaction
from billing.metering.usage import store as records
from billing.metering.usage.schemas import BillingRecord
from billing.metering.usage.tables import billing_records

MAX_USES: Final = 100
"""Maximum of uses shown per entry; the list of records has all."""
MAX_LOTS: Final = 100
"""Maximum of lots read besides the used ones."""
# The lots that had credits left at the time, each with the end that it had then. A lot only ever
# loses credits, so a lot with credits now, or with a later entry, had some then.
_LOTS: Final = text(
    """
    SELECT l.id, l.kind, l.scope, l.priority, l.is_paid, e.expires_at, l.granted_seq, l.created_at,
           own.amount, p.amount_minor AS bought_minor, p.currency, p.credits AS bought_credits
    FROM credit_lots l
    LEFT JOIN LATERAL (
        SELECT b.was
        FROM jsonb_array_elements(l.ends_before) WITH ORDINALITY AS b (was, place)
        WHERE (b.was ->> 'seq')::bigint >= :seq ORDER BY b.place LIMIT 1) k ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.was IS NULL THEN l.expires_at  -- its end has not been moved since
                    ELSE (k.was ->> 'expires_at')::timestamptz END AS expires_at) e
    LEFT JOIN credit_transaction_lots own ON own.lot_id = l.id AND own.transaction_id = :id
    LEFT JOIN purchases p
           ON p.account_id = l.account_id AND l.grant_key = public_id('pur', p.id) || '/grant'
    WHERE l.account_id = :account_id AND l.granted_seq <= :seq
      AND (own.lot_id IS NOT NULL OR (
          :ordered AND l.granted_seq < :seq AND (e.expires_at IS NULL OR e.expires_at > :at)
          AND (l.is_open OR EXISTS (
              SELECT FROM credit_transaction_lots o JOIN credit_transactions t
                  ON t.id = o.transaction_id
              WHERE o.lot_id = l.id AND t.seq > :seq))))
    ORDER BY own.lot_id IS NULL, l.granted_seq DESC
    LIMIT :limit
    """
)


async def lots(connection: AsyncConnection, account_id: UUID, entry: Transaction) -> list[LotFacts]:
    """Return the lots that the entry used, and those it could have used."""
    facts = {
        "id": entry.id, "account_id": account_id, "seq": entry.seq, "at": entry.at,
        "ordered": entry.kind in ORDERED,
        "limit": MAX_LOTS + len(entry.lots),
    }  # fmt: skip
    rows = (await connection.execute(_LOTS, facts)).mappings()
    return [LotFacts.model_validate(dict(row)) for row in rows]


async def uses(
    connection: AsyncConnection, account_id: UUID, entry: Transaction, user: str | None
) -> tuple[list[BillingRecord], int]:
    """Return the first uses that the entry paid or gave back, and the number of all; only this
    user's, if given.
    """
    paid = records.paid_by(records.records(account_id, user_id=user), entry.id)
    total = await connection.scalar(select(func.count()).select_from(paid.subquery())) or 0
    record = billing_records.c
    rows = await connection.execute(paid.order_by(record.occurred_at, record.id).limit(MAX_USES))
    return [BillingRecord.model_validate(dict(row)) for row in rows.mappings()], total
