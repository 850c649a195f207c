"""The only writer of audit rows [P8]; the ledger and billing records are their own audit."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, row_writes
from billing.core.clock import real_now
from billing.platform.audit.tables import billing_audit


async def record(
    connection: AsyncConnection,
    *,
    account_id: UUID | None,
    action: str,
    subject: str,
    at: datetime,
    **detail: Any,
) -> None:
    """Write an audit row; `action` is a noun and a past participle, such as `purchase.completed`.

    `subject` is the external id of the changed object; `detail` must be JSON without secrets.
    """
    row = {
        "account_id": account_id,
        "actor": context.actor.get(),
        "action": action,
        "subject": subject,
        "detail": detail,
        "correlation_id": context.correlation_id.get(),
        "at": at,
        "real_at": real_now(),
    }
    await row_writes.add(connection, billing_audit, row)
