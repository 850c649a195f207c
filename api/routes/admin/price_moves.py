"""Moves of subscribers from an old price to the current one (docs/rules/subscriptions.md)."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

from fastapi import Query
from pydantic import Field

from api.answers.pagination import MAX_CURSOR_CHARS, decode_cursor, encode_cursor
from api.answers.problems import responses
from api.answers.public_ids import AccountId, SubscriptionId
from api.answers.schemas import Answer, Body, KeyPath
from api.calls import Call, refuse_other_shops
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from api.routes.subscription_previews import DryRun
from billing.catalog.plans import service as plan_service
from billing.core.errors import Conflict
from billing.matters.effects import Work
from billing.money.subscriptions import service
from billing.money.subscriptions.commands import price_moves
from billing.money.subscriptions.commands.price_moves import PriceMove
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import PlanWish
from billing.money.subscriptions.tables import subscriptions

router = new_router("subscriptions")
PAGE: Final = 100
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR_CHARS)]
CHANGED_SINCE: Final = ("SUBSCRIPTION_STATE", "PRICE_NOT_OFFERED", "CHANGE_PENDING")


class MoveBody(Body):
    """The reason, which is in the customers' event."""

    reason: FreeText = Field(description="For the customers' event")


class MovePart(Answer):
    """A subscription whose price changes at `effective_at`."""

    account_id: AccountId
    subscription_id: SubscriptionId = Field(validation_alias="id")
    price_cents_before: int = Field(validation_alias="before_minor")
    price_cents: int = Field(
        validation_alias="after_minor",
        description="The price of the plan per period from then on, with its seats, in minor units",
    )
    currency: str
    effective_at: datetime = Field(description="When the price changes")


class MovesAnswer(Answer):
    """The subscriptions that move; `left`: there are more, continue from `next_cursor`."""

    moves: list[MovePart] = Field(description="The subscriptions that move")
    left: bool = Field(
        description="True if more are to move: repeat the request with `next_cursor`"
    )
    next_cursor: str | None = Field(description="Where to continue; null: nothing is left")


@router.post(
    "/admin/plans/{key}/move-subscribers", responses=responses("INVALID_CURSOR", "PLAN_NOT_FOUND")
)
async def move_subscribers(
    key: KeyPath, body: MoveBody, call: AdminCall, dry_run: DryRun = False, cursor: Cursor = None
) -> MovesAnswer:
    """Move subscribers of an old price to the current one, each with its next period; at most 100
    per request. Repeat it to move the others; the cursor skips those already looked at.
    """
    after = place_of(cursor)
    async with call.database.operator() as connection:
        plan = await plan_service.plan_named(connection, key)
        found = await price_moves.to_move(connection, plan.key, PAGE + 1, after=after)
        some, more = found[:PAGE], len(found) > PAGE
        await refuse_other_shops(connection, (one.account_id for one in some))
    verb, about = partial(price_moves.move, reason=body.reason), PlanWish(though_closed=True)
    moved = some if dry_run else [one for one in some if await move(call, one, verb, about)]
    return MovesAnswer(
        moves=[MovePart.of(one) for one in moved],
        left=more,
        next_cursor=cursor_at(some[-1].id) if more else None,
    )


def place_of(cursor: str | None) -> UUID | None:
    """Return the subscription that was reached. Errors: INVALID_CURSOR."""
    if cursor is None:
        return None
    (reached,) = decode_cursor(cursor, (subscriptions.c.id,))
    return UUID(str(reached))


def cursor_at(reached: UUID) -> str:
    """Return the position after this subscription, as opaque text."""
    return encode_cursor({subscriptions.c.id: reached}, (subscriptions.c.id,))


async def move(
    call: Call, one: PriceMove, verb: Callable[[Work[SubscriptionFacts]], object], about: PlanWish
) -> bool:
    """Move a subscription; return False if it has ended or changed since it was found."""
    try:
        async with call.database.tenant(one.account_id) as connection:
            await service.ask(connection, one.id, verb, about=about)
    except Conflict as refused:
        if refused.code not in CHANGED_SINCE:
            raise
        return False
    return True
