"""The batch function as a micro-batcher will call it: many items, one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.arrays import records

_BATCH = text("SELECT * FROM credit_debit_many(CAST(:items AS credit_debit_item[]))")


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
    listed = records(
        (i.account, i.amount, i.key, i.hash, "batch", i.scope, i.paid_only, None, None, False)
        for i in items
    )
    rows = (await connection.execute(_BATCH, {"items": listed})).mappings().all()
    return sorted(rows, key=lambda row: row["place"])
