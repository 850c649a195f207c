"""Visits to the provider's portal, where a customer manages cards [K10].

A visit is requested as a row and opened by the account's matter; changes there come as events.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, row_writes
from billing.core.prepared import Prepared, given
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.money.payment_methods.schemas import PortalSession
from billing.money.payment_methods.tables import portal_sessions
from billing.platform.audit import service as audit

_OF_ID = Prepared(select(portal_sessions).where(portal_sessions.c.id == given("portal_id")))


async def start(
    connection: AsyncConnection, account_id: UUID, portal_id: UUID, return_url: str, at: datetime
) -> Matter:
    """Request a visit, once; return the matter to notify after the commit."""
    await credits.lock(connection, account_id)
    if await _OF_ID.first(connection, portal_id=portal_id) is None:
        row = {
            "id": portal_id, "account_id": account_id, "return_url": return_url,
            "status": "pending", "created_at": at,
        }  # fmt: skip
        await row_writes.add(connection, portal_sessions, row)
        await audit.record(
            connection,
            account_id=account_id,
            action="portal_session.started",
            subject=ids.encode(ids.PORTAL_SESSION, portal_id),
            at=at,
        )
    return await matters.ensure_account(connection, account_id, due=at, at=at)


async def get(connection: AsyncConnection, portal_id: UUID) -> PortalSession:
    """Return a requested visit."""
    return PortalSession.model_validate(await _OF_ID.one(connection, portal_id=portal_id))


async def record(
    connection: AsyncConnection, portal_id: UUID, url: str | None, at: datetime
) -> None:
    """Record the provider's answer: the address, or None if it refused."""
    await row_writes.change(
        connection,
        portal_sessions,
        portal_id,
        status="open" if url is not None else "refused",
        url=url,
        finished_at=at,
    )
