"""Queries that read the audit trail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.platform.audit.tables import billing_audit


def listing(
    account_id: UUID | None,
    *,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Select[Any]:
    """Select matching audit rows; the caller adds order and limit. `start`, `end`: real time.

    Without an account: the rows of all accounts, and those without an account.
    """
    row = billing_audit.c
    query = select(billing_audit)
    for column, wanted in (
        (row.account_id, account_id), (row.actor, actor), (row.action, action),
        (row.subject, subject),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    if start is not None:
        query = query.where(row.real_at >= start)
    return query if end is None else query.where(row.real_at < end)


async def has(
    connection: AsyncConnection, account_id: UUID, subject: str, action: str, request: str
) -> bool:
    """True if this request already did this: an audit row has its id as `request`."""
    done = listing(account_id, action=action, subject=subject).where(
        billing_audit.c.detail["request"].astext == request
    )
    return bool(await connection.scalar(select(exists(done))))
