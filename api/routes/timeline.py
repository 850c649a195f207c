"""The timeline of an account: every past step with its cause, every future one with its amount."""

import asyncio
from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, PageRequest, Pagination, Paging, paginate
from api.answers.problems import responses
from api.answers.schemas import Answer, Credits
from api.dependencies import AdminCall, Call, MemberCall, account_named
from api.routes.base import new_router
from api.user_scope import only_user
from billing.core import ids
from billing.insight.timeline import rules, store
from billing.insight.timeline.schemas import Outlook

router = new_router("timeline")

Ahead = Annotated[int, Query(ge=0, le=100, description="How many future steps to show.")]


class CauseAnswer(Answer):
    """The cause: what was due, who requested it, or Stripe's event."""

    words: str
    actor: str | None
    workflow_id: str | None
    due_at: datetime | None
    stripe_event_id: str | None
    correlation_id: str | None


class HappenedAnswer(Answer):
    """A past entry; `source` is step, change, payment or credits."""

    at: datetime
    real_at: datetime
    source: str
    name: str
    subject: str
    words: str
    amount_cents: int | None = Field(validation_alias="amount_minor")
    currency: str | None
    credits: Credits | None
    cause: CauseAnswer


class ComingAnswer(Answer):
    """A future entry, if all payments succeed; `only_if` says what else it depends on."""

    at: datetime
    name: str
    workflow_id: str
    words: str
    amount_cents: int | None = Field(validation_alias="amount_minor")
    currency: str | None
    credits: Credits | None
    only_if: str | None
    key: str | None


class TimelineAnswer(Answer):
    """`future` is soonest first, `past` newest first; `pagination` is that of the past."""

    account_id: str
    now: datetime
    future: list[ComingAnswer]
    past: list[HappenedAnswer]
    pagination: Pagination


class Told(NamedTuple):
    """Everything that a timeline is made of."""

    account_id: UUID
    outlook: Outlook
    past: Page[HappenedAnswer]


@router.get("/billing/timeline", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def read_timeline(call: MemberCall, paging: Paging, upcoming: Ahead = 12) -> TimelineAnswer:
    """The past of this account with causes, and its future with dates and amounts."""
    async with call.transaction() as connection:
        told = await _read(call, connection, call.account.id, paging)
    return await _timeline(call, told, upcoming)


@router.get(
    "/admin/accounts/{account_id}/timeline",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"),
)
async def read_account_timeline(
    account_id: str, call: AdminCall, paging: Paging, upcoming: Ahead = 12
) -> TimelineAnswer:
    """The timeline of any account, for operators."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        told = await _read(call, connection, account.id, paging)
    return await _timeline(call, told, upcoming)


async def _read(
    call: Call, connection: AsyncConnection, account_id: UUID, paging: PageRequest
) -> Told:
    outlook = await store.outlook(connection, account_id, maker=only_user(call))
    query, keys = store.past(account_id)
    past = await paginate(
        connection, query, keys, paging, lambda row: HappenedAnswer.of(store.show(row))
    )
    return Told(account_id, outlook, past)


async def _timeline(call: Call, told: Told, upcoming: int) -> TimelineAnswer:
    # Years of steps take a second: apart from the event loop, and one timeline at a time.
    async with call.services.foreseeing.one():
        future = await asyncio.to_thread(rules.project, told.outlook, upcoming)
    return TimelineAnswer(
        account_id=ids.encode(ids.ACCOUNT, told.account_id),
        now=told.outlook.now,
        future=[ComingAnswer.of(one) for one in future],
        past=told.past.data,
        pagination=told.past.pagination,
    )
