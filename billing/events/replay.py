"""Looking into a stored event once more, on an operator's order [N6]."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.audit import service as audit
from billing.core import clock
from billing.core.errors import Conflict, NotFound
from billing.core.matters import Matter
from billing.events import store
from billing.events.provider import PAYMENT_EVENTS
from billing.events.store import Waiting
from billing.events.tables import stripe_webhook_events as inbox


def listing(
    *, status: str | None = None, account_id: UUID | None = None, event_id: str | None = None
) -> Select[Any]:
    """The inbox for operators; order and cut are the caller's."""
    query = select(inbox)
    if status is not None:
        query = query.where(inbox.c.status == status)
    if event_id is not None:
        query = query.where(inbox.c.stripe_event_id == event_id)
    return query if account_id is None else query.where(inbox.c.account_id == account_id)


async def replay(connection: AsyncConnection, event_id: str) -> Matter:
    """Have its matter look into an event again, found anew if it was nobody's; tell it after.

    Nothing is done twice: the matter asks the provider where the object stands now. Errors:
    WEBHOOK_NOT_FOUND, WEBHOOK_UNMATCHED.
    """
    row = (
        (
            await connection.execute(
                select(inbox).where(inbox.c.stripe_event_id == event_id).with_for_update()
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound("WEBHOOK_NOT_FOUND", "no such event")
    if row["type"] not in PAYMENT_EVENTS:
        raise Conflict("WEBHOOK_UNMATCHED", f"no matter acts on {row['type']}")
    await connection.execute(
        update(inbox)
        .where(inbox.c.stripe_event_id == event_id)
        .values(status="received", error=None, replays=inbox.c.replays + 1)
    )
    owner = await store.find_owner(
        connection, Waiting.model_validate({**row, "event_id": event_id})
    )
    if owner is None:
        raise Conflict("WEBHOOK_UNMATCHED", "no matter here is behind this event")
    await audit.record(
        connection,
        account_id=owner.account_id,
        action="webhook.replayed",
        subject=event_id,
        at=await clock.now(connection, owner.account_id),
        type=row["type"],
        before=row["status"],
    )
    return owner
