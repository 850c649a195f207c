"""The currency of an account: open again as soon as nothing fixes it any more, and kept by money
that comes or is billed after that.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import OPEN_STATUSES
from billing.core.prepared import Prepared
from billing.ledger.credits import service as credits

# It is fixed by an open subscription, a payment that brought money or may bring it, money on an
# invoice that was sent or paid, a waiting purchase, money on its balance, or enabled top-ups.
_IS_FIXED: Final = Prepared(
    text(
        """
    SELECT EXISTS (SELECT FROM subscriptions
                   WHERE account_id = :account_id AND status = ANY (:open))
        OR EXISTS (SELECT FROM payments WHERE account_id = :account_id
                   AND status NOT IN ('failed', 'canceled'))
        OR EXISTS (SELECT FROM invoices WHERE account_id = :account_id AND total_minor > 0
                   AND status NOT IN ('draft', 'void'))
        OR EXISTS (SELECT FROM invoices WHERE account_id = :account_id AND status = 'draft'
                   AND purchase_id IS NOT NULL)
        OR EXISTS (SELECT FROM balance_entries WHERE account_id = :account_id
                   GROUP BY currency HAVING sum(amount_minor) <> 0)
        OR EXISTS (SELECT FROM top_up_settings WHERE account_id = :account_id AND is_enabled)
    """
    )
)


async def leave(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    at: datetime,  # noqa: ARG001 - every verb is given it
) -> None:
    """Unset the account's currency if nothing fixes it. Callers hold the account's lock."""
    if not await _IS_FIXED.scalar(connection, account_id=account_id, open=[*OPEN_STATUSES]):
        await credits.open_currency(connection, account_id)


async def keep(connection: AsyncConnection, account_id: UUID, currency: str, **_: Any) -> None:
    """Fix the account's currency if it is open. Another one stays: what was sold before it was
    opened is billed and paid in its own.
    """
    if (await credits.lock(connection, account_id)).currency is None:
        await credits.fix_currency(connection, account_id, currency)
