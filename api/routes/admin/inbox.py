"""The inbox of provider events, for operators: list events, and handle one again [N6]."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.answers import statuses
from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer, Body, OneWord
from api.calls import account_filter
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from api.shop_headers import check_shop
from api.workflow_calls import need_temporal, wait_until_done
from billing.money.payments import event_commands
from billing.platform.accounts import store as accounts
from billing.platform.provider_inbox import store
from billing.platform.provider_inbox.tables import stripe_webhook_events as inbox

router = new_router("webhook administration")

Status = Literal["received", "handled", "ignored", "unmatched", "parked"]

Source = Literal["webhook", "poll", "operator"]


class ProviderEventAnswer(Answer):
    """One event: `deliveries` counts how often it came, `replays` how often it was handled again.

    `status` is received (not handled yet), handled, ignored (no rule for its type, or for a card
    that is not kept here), unmatched (no matter found so far) or parked (no matter found within a
    day; `error` says why).
    """

    event_id: str = Field(
        validation_alias="stripe_event_id", description="The event, by its id at the provider"
    )
    type: str = Field(description="Its type at the provider, such as `payment_intent.succeeded`")
    status: str = Field(description=statuses.PROVIDER_EVENT)
    object_id: str | None = Field(
        description="What it is about, by its id at the provider; null: nothing that has one"
    )
    account_id: AccountId | None
    workflow_id: str | None
    deliveries: int
    replays: int
    source: str = Field(
        description="How it came: as a `webhook`, by a `poll` of the provider, or from an"
        " `operator`",
    )
    error: str | None = Field(description="Why it could not be handled; null: nothing failed")
    created_at: datetime | None
    received_at: datetime = Field(description="When it came first, in real time")
    dispatched_at: datetime | None = Field(
        description="When it was handed to what it belongs to, in real time; null: not yet"
    )
    emptied_at: datetime | None = Field(description="When its payload was deleted.")


class DismissalBody(Body):
    """The reason why the event needs no action."""

    reason: FreeText = Field(description="Why it needs no action")


@router.get("/admin/webhooks", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_webhook_events(
    call: AdminCall,
    paging: Paging,
    status: Status | None = None,
    source: Source | None = None,
    account_id: OneWord = None,
) -> Page[ProviderEventAnswer]:
    """Every received event, newest first. `source` is `webhook`, `poll` (found among the provider's
    events: its webhook was late or lost) or `operator` (a request to check a payment).
    """
    keys = (inbox.c.received_at, inbox.c.stripe_event_id)
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = store.listing(status=status, source=source, account_id=account)
        return await paginate(connection, query, keys, paging, ProviderEventAnswer.of)


@router.post(
    "/admin/webhooks/{event_id}/replay",
    responses=responses(
        "WEBHOOK_NOT_FOUND", "WEBHOOK_UNMATCHED", "WEBHOOK_EMPTIED", "TEMPORAL_UNAVAILABLE"
    ),
)
async def replay_webhook_event(event_id: str, call: AdminCall) -> ProviderEventAnswer:
    """Have the event's matter handle it again; nothing happens twice."""
    await need_temporal(call)
    async with call.database.operator() as connection:
        matter = await event_commands.replay(connection, event_id)
        check_shop(await accounts.get(connection, matter.account_id))
    await wait_until_done(call, matter)
    async with call.database.operator() as connection:
        row = (await connection.execute(store.listing(event_id=event_id))).mappings().one()
    return ProviderEventAnswer.of(row)


@router.post(
    "/admin/webhooks/{event_id}/dismiss",
    responses=responses("WEBHOOK_NOT_FOUND", "WEBHOOK_HAS_OWNER"),
)
async def dismiss_webhook_event(
    event_id: str, body: DismissalBody, call: AdminCall
) -> ProviderEventAnswer:
    """Dismiss an event without a matter for good: it is `ignored`, with the reason."""
    async with call.database.operator() as connection:
        await event_commands.dismiss(connection, event_id, body.reason)
        row = (await connection.execute(store.listing(event_id=event_id))).mappings().one()
    return ProviderEventAnswer.of(row)
