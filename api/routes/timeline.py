"""The timeline of an account: every past step with its cause, every future one with its cents."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AdminCall, Call, MemberCall, account_named
from api.pagination import PageRequest, Pagination, Paging, paginate
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Credits
from billing.core import ids
from billing.timeline import rules, store
from billing.timeline.schemas import Coming, Happened

router = new_router("timeline")

Ahead = Annotated[int, Query(ge=0, le=100, description="How many future steps to show.")]


class CauseAnswer(Answer):
    """Why it happened: what was due, who asked, or what Stripe told."""

    words: str
    actor: str | None
    workflow_id: str | None
    due_at: datetime | None
    stripe_event_id: str | None
    correlation_id: str | None


class HappenedAnswer(Answer):
    """One thing of the past; `source` is step, change, payment or credits."""

    at: datetime
    real_at: datetime
    source: str
    name: str
    subject: str
    words: str
    amount_cents: int | None
    currency: str | None
    credits: Credits | None
    cause: CauseAnswer

    @classmethod
    def of(cls, one: Happened) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"amount_minor", "cause"})
        cause = CauseAnswer(**one.cause.model_dump())
        return cls(**known, amount_cents=one.amount_minor, cause=cause)


class ComingAnswer(Answer):
    """One step to come, if all goes well; `only_if` says what else it depends on."""

    at: datetime
    name: str
    workflow_id: str
    words: str
    amount_cents: int | None
    currency: str | None
    credits: Credits | None
    only_if: str | None
    key: str | None

    @classmethod
    def of(cls, one: Coming) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"amount_minor"})
        return cls(**known, amount_cents=one.amount_minor)


class TimelineAnswer(Answer):
    """`future` soonest first, `past` newest first; `pagination` is that of the past."""

    account_id: str
    now: datetime
    future: list[ComingAnswer]
    past: list[HappenedAnswer]
    pagination: Pagination


@router.get("/billing/timeline", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def read_timeline(call: MemberCall, paging: Paging, upcoming: Ahead = 12) -> TimelineAnswer:
    """What happened to this account and why, and what will happen when and for how much."""
    async with call.transaction() as connection:
        return await _timeline(call, connection, call.account.id, paging, upcoming)


@router.get(
    "/admin/accounts/{account_id}/timeline",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"),
)
async def read_account_timeline(
    account_id: str, call: AdminCall, paging: Paging, upcoming: Ahead = 12
) -> TimelineAnswer:
    """The same, for operators."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        return await _timeline(call, connection, account.id, paging, upcoming)


async def _timeline(
    call: Call, connection: AsyncConnection, account_id: UUID, paging: PageRequest, upcoming: int
) -> TimelineAnswer:
    at_start = call.settings.cycle_credits_at == "start"
    outlook = await store.outlook(connection, account_id, credits_at_start=at_start)
    query, keys = store.past(account_id)
    past = await paginate(
        connection, query, keys, paging, lambda row: HappenedAnswer.of(store.show(row))
    )
    return TimelineAnswer(
        account_id=ids.encode(ids.ACCOUNT, account_id),
        now=outlook.now,
        future=[ComingAnswer.of(one) for one in rules.project(outlook, upcoming)],
        past=past.data,
        pagination=past.pagination,
    )
