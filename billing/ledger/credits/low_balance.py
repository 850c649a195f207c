"""The balance below which an account is notified that its credits run out."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.money import show_decimal
from billing.ledger.credits import service, store
from billing.platform.audit import service as audit


async def put(
    connection: AsyncConnection, account_id: UUID, threshold: Decimal | None, at: datetime
) -> Decimal | None:
    """Notify from now on when the balance falls below this; None: only when nothing is left.

    Errors: NOT_FOUND.
    """
    await service.lock(connection, account_id)
    kept = await store.set_low_balance(connection, account_id, threshold)
    await audit.record(
        connection,
        account_id=account_id,
        action="credits.low_balance_set",
        subject=ids.encode(ids.ACCOUNT, account_id),
        at=at,
        threshold=None if kept is None else show_decimal(kept),
    )
    return kept
