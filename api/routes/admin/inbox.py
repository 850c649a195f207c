"""The inbox of provider events, for operators: list events, and handle one again [N6]."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Query

from api.dependencies import AdminCall, account_named
from api.pagination import Page, Paging, paginate
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer
from api.workflow_calls import need_temporal, wait_until_done
from billing.core import ids
from billing.money.payments import event_owners
from billing.platform.provider_inbox import store
from billing.platform.provider_inbox.tables import stripe_webhook_events as inbox

router = new_router("webhook administration")

Status = Literal["received", "handled", "ignored", "unmatched", "parked"]


class EventAnswer(Answer):
    """One event: `deliveries` counts how often it came, `replays` how often it was handled again.

    `status` is received (not handled yet), handled, ignored (no rule for its type), unmatched (no
    matter found so far) or parked (no matter found within a day; `error` says why).
    """

    event_id: str
    type: str
    status: str
    object_id: str | None
    account_id: str | None
    workflow_id: str | None
    deliveries: int
    replays: int
    source: str
    error: str | None
    created_at: datetime | None
    received_at: datetime
    dispatched_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """A row of the inbox."""
        account = row["account_id"]
        known = {name: row[name] for name in cls.model_fields if name in row}
        return cls(
            **known
            | {
                "event_id": row["stripe_event_id"],
                "account_id": ids.encode(ids.ACCOUNT, account) if account else None,
            }
        )


@router.get("/admin/webhooks", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_webhook_events(
    call: AdminCall,
    paging: Paging,
    status: Annotated[Status | None, Query()] = None,
    account_id: Annotated[str | None, Query(max_length=255)] = None,
) -> Page[EventAnswer]:
    """Every received event, newest first."""
    keys = (inbox.c.received_at, inbox.c.stripe_event_id)
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id) if account_id else None
        query = store.listing(status=status, account_id=account.id if account else None)
        return await paginate(connection, query, keys, paging, EventAnswer.of)


@router.post(
    "/admin/webhooks/{event_id}/replay",
    responses=responses("WEBHOOK_NOT_FOUND", "WEBHOOK_UNMATCHED", "TEMPORAL_UNAVAILABLE"),
)
async def replay_webhook_event(event_id: str, call: AdminCall) -> EventAnswer:
    """Have the event's matter handle it again; nothing happens twice."""
    await need_temporal(call)
    async with call.database.operator() as connection:
        matter = await event_owners.replay(connection, event_id)
    await wait_until_done(call, matter)
    async with call.database.operator() as connection:
        row = (await connection.execute(store.listing(event_id=event_id))).mappings().one()
    return EventAnswer.of(row)
