"""Publishing facts to the outside: a row in the same transaction, numbered per account."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, ids
from billing.core.clock import real_now
from billing.events.tables import events

# Taking the number locks the account's balance row: the order of numbers is the order of commits.
_NEXT_SEQ = text(
    "UPDATE credit_balances SET event_seq = event_seq + 1"
    " WHERE account_id = :account_id RETURNING event_seq"
)


async def publish(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    type: str,
    data: dict[str, Any],
    at: datetime,
) -> None:
    """Write `evt.billing.*` to the outbox; `data` is JSON with external ids and strings."""
    seq = (await connection.execute(_NEXT_SEQ, {"account_id": account_id})).scalar_one()
    await connection.execute(
        events.insert().values(
            id=ids.new(),
            account_id=account_id,
            seq=seq,
            type=type,
            data=data,
            correlation_id=context.correlation_id.get(),
            occurred_at=at,
            created_at=real_now(),
        )
    )
