"""Reading the audit trail."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from billing.platform.audit.tables import billing_audit as rows


def listing(
    account_id: UUID, *, action: str | None = None, subject: str | None = None
) -> Select[Any]:
    """The account's audit rows that match; order and cut are the caller's."""
    query = select(
        rows.c.id,
        rows.c.actor,
        rows.c.action,
        rows.c.subject,
        rows.c.detail,
        rows.c.correlation_id,
        rows.c.at,
        rows.c.real_at,
    ).where(rows.c.account_id == account_id)
    if action is not None:
        query = query.where(rows.c.action == action)
    if subject is not None:
        query = query.where(rows.c.subject == subject)
    return query
