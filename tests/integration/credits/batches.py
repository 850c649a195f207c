"""The batch function as a micro-batcher will call it: many items, one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_BATCH = text(
    """
    SELECT * FROM credit_debit_batch(
        CAST(:accounts AS uuid[]), CAST(:amounts AS numeric[]), CAST(:keys AS text[]),
        CAST(:hashes AS text[]), CAST(:reasons AS text[]), CAST(:scopes AS text[]),
        CAST(:paid_only AS boolean[]), CAST(:subjects AS text[]), CAST(:details AS jsonb[]))
    """
)


@dataclass(frozen=True)
class Item:
    """One debit of a batch."""

    account: UUID
    amount: str
    key: str
    hash: str = "h"
    scope: str | None = None
    paid_only: bool = False


async def debit_batch(connection: AsyncConnection, items: Sequence[Item]) -> list[RowMapping]:
    """The verdicts in the order of the items."""
    columns = {
        "accounts": [item.account for item in items],
        "amounts": [Decimal(item.amount) for item in items],
        "keys": [item.key for item in items],
        "hashes": [item.hash for item in items],
        "reasons": ["batch" for _ in items],
        "scopes": [item.scope for item in items],
        "paid_only": [item.paid_only for item in items],
        "subjects": [None for _ in items],
        "details": [None for _ in items],
    }
    rows = (await connection.execute(_BATCH, columns)).mappings().all()
    return sorted(rows, key=lambda row: row["place"])
