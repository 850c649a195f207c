"""Events of an account, for integrators that poll."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator, Field

from api.answers.pagination import MAX_LIMIT
from api.answers.problems import responses
from api.answers.public_ids import encoded
from api.answers.schemas import Answer, OneWord
from api.dependencies import BillingCall
from api.routes.base import new_router
from billing.core import ids
from billing.core.errors import Invalid
from billing.core.periods import show_instant
from billing.platform.outbox import store
from billing.platform.outbox.fields import INSTANTS
from billing.platform.outbox.kinds import KINDS

router = new_router("events")


def _with_instants_shown(data: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields with instants in the form of all other answers."""
    kept = {name: data[name] for name in INSTANTS if data.get(name) is not None}
    return data | {name: show_instant(datetime.fromisoformat(at)) for name, at in kept.items()}


class EventAnswer(Answer):
    """One event; `seq` increases with each event of an account, `type` determines the fields of
    `data`.
    """

    event_id: Annotated[str, encoded(ids.EVENT)] = Field(
        validation_alias="id", description="The event"
    )
    account_id: Annotated[str, encoded(ids.ACCOUNT)]
    seq: int = Field(description="The number of the event, which grows within the account")
    type: str = Field(description="What happened, such as `evt.billing.credits.purchased`")
    data: Annotated[dict[str, Any], BeforeValidator(_with_instants_shown)] = Field(
        description="The facts, by the type of the event"
    )
    correlation_id: str | None
    occurred_at: datetime


class EventsAnswer(Answer):
    """Events in their order; continue with `next_after`, which is unchanged if there were none. It
    passes over events of other types: they were looked at.
    """

    data: list[EventAnswer] = Field(description="The events, oldest first")
    next_after: int = Field(description="The number to continue from")
    has_more: bool


@router.get(
    "/billing/events",
    responses=responses("INVALID_EVENT_TYPE", "EVENTS_REWOUND", "EVENTS_GONE"),
)
async def list_events(
    call: BillingCall,
    after: Annotated[int, Query(ge=0, le=2**62, description="The last `seq` you know.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = MAX_LIMIT,
    type: OneWord = None,
) -> EventsAnswer:
    """Events after a number, oldest first; none appears later with a lower number.

    An unknown number is refused with the one to continue from (`next_after`): the database was
    restored to an earlier point, or events after that number were deleted. 0 begins with the oldest
    event kept. `type` is a full type, such as `evt.billing.credits.purchased`; `docs/events.md`
    lists all, with the fields of their `data`.
    """
    if type is not None and type not in KINDS:
        raise Invalid("INVALID_EVENT_TYPE", f"unknown event type {type}; see docs/events.md")
    query = store.listing(call.account.id, after=after, type=type).limit(limit + 1)
    async with call.transaction() as connection:
        # Read before the listing: of what comes meanwhile, nothing is passed over.
        last = await store.last_number(connection, call.account.id) if type is not None else None
        found = (await connection.execute(query)).mappings().all()
        # Check after the read: events deleted before it are known by now.
        await store.refuse_unknown(connection, call.account.id, after)
    shown = [EventAnswer.of(row) for row in found[:limit]]
    next_after, has_more = shown[-1].seq if shown else after, len(found) > limit
    if last is not None and not has_more:
        next_after = max(next_after, last)
    return EventsAnswer(data=shown, next_after=next_after, has_more=has_more)
