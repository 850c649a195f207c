"""The one way to write an audit row [P8]; the ledger and billing records are their own audit."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, prepared
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
    """`action` is `noun.verb` in the past tense's plain form, such as `purchase.completed`.

    `subject` is the external id of the thing changed; `detail` must be JSON and free of secrets.
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
    await prepared.add(connection, billing_audit, row)
