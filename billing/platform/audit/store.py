"""Reading the audit trail."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.platform.audit.tables import billing_audit


def listing(
    account_id: UUID, *, action: str | None = None, subject: str | None = None
) -> Select[Any]:
    """The account's audit rows that match; order and cut are the caller's."""
    query = select(
        billing_audit.c.id,
        billing_audit.c.actor,
        billing_audit.c.action,
        billing_audit.c.subject,
        billing_audit.c.detail,
        billing_audit.c.correlation_id,
        billing_audit.c.at,
        billing_audit.c.real_at,
    ).where(billing_audit.c.account_id == account_id)
    if action is not None:
        query = query.where(billing_audit.c.action == action)
    if subject is not None:
        query = query.where(billing_audit.c.subject == subject)
    return query


async def has(
    connection: AsyncConnection, account_id: UUID, subject: str, action: str, request: str
) -> bool:
    """True where the request has done this before; its row names it as `request`."""
    done = listing(account_id, action=action, subject=subject).where(
        billing_audit.c.detail["request"].astext == request
    )
    return bool(await connection.scalar(select(exists(done))))
