"""The timeline of an account: every past step with its cause, every future one with its amount."""

import asyncio
from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, PageRequest, Pagination, Paging, paginate_merged
from api.answers.problems import responses
from api.answers.schemas import Answer, Credits
from api.calls import Call, account_named
from api.dependencies import AdminCall, MemberCall
from api.routes.base import new_router
from api.user_scope import only_user
from billing.core import ids
from billing.insight.timeline import rules, store
from billing.insight.timeline.schemas import Outlook

router = new_router("timeline")

Ahead = Annotated[
    int | None,
    Query(
        ge=0,
        le=rules.MAX_COMING,
        description=f"How many future steps to show. By default the next {rules.FEW}, and all until"
        f" the current period has ended, {rules.MAX_COMING} at most.",
    ),
]


class CauseAnswer(Answer):
    """The cause: what was due, who requested it, or Stripe's event."""

    words: str = Field(description="The cause in words")
    actor: str | None = Field(description="Who asked for it; null: nobody did")
    workflow_id: str | None
    due_at: datetime | None = Field(
        description="When the step was due that did it; null: no step did"
    )
    stripe_event_id: str | None
    correlation_id: str | None


class HappenedAnswer(Answer):
    """A past entry; `source` is step, change, payment or credits."""

    at: datetime = Field(description="When, in the account's time")
    real_at: datetime
    source: str = Field(
        description="What tells of it: a `step`, a `change`, a `payment` or `credits`"
    )
    name: str = Field(description="What happened, in one word")
    subject: str = Field(description="What it happened to, by its id")
    words: str = Field(description="What happened, in words")
    amount_cents: int | None = Field(
        validation_alias="amount_minor",
        description="The money that it is about, in minor units; null: none",
    )
    currency: str | None
    credits: Credits | None = Field(description="The credits that it is about; null: none")
    cause: CauseAnswer = Field(description="Why it happened")


class ComingAnswer(Answer):
    """A future entry, if all payments succeed; `only_if` says what else it depends on."""

    at: datetime = Field(description="When it is due, in the account's time")
    name: str = Field(description="The step, such as `renew` or `charge`")
    workflow_id: str
    words: str = Field(description="What will happen, in words")
    amount_cents: int | None = Field(
        validation_alias="amount_minor",
        description="The money that is billed or collected, in minor units; null: none",
    )
    currency: str | None
    credits: Credits | None = Field(description="The credits that come or expire; null: none")
    only_if: str | None = Field(
        description="What it depends on; null: it happens unless somebody acts"
    )
    key: str | None = Field(
        description="The key of the step, which it keeps when it is done; null: not known yet"
    )


class TimelineAnswer(Answer):
    """`future` is soonest first, `past` newest first; `pagination` is that of the past.

    `future_has_more` is true if steps follow those that are shown.
    """

    account_id: str
    now: datetime = Field(description="The account's present time")
    future: list[ComingAnswer] = Field(description="What is to come, soonest first")
    future_has_more: bool = Field(description="True if more steps follow those that are shown")
    past: list[HappenedAnswer] = Field(description="What happened, newest first")
    pagination: Pagination


class TimelineFacts(NamedTuple):
    """Everything that a timeline is made of."""

    account_id: UUID
    outlook: Outlook
    past: Page[HappenedAnswer]


@router.get("/billing/timeline", responses=responses("INVALID_CURSOR"))
async def read_timeline(call: MemberCall, paging: Paging, upcoming: Ahead = None) -> TimelineAnswer:
    """The past of this account with causes, and its future with dates and amounts."""
    async with call.transaction() as connection:
        facts = await _read(call, connection, call.account.id, paging)
    return await _timeline(call, facts, upcoming)


@router.get(
    "/admin/accounts/{account_id}/timeline",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"),
)
async def read_account_timeline(
    account_id: str, call: AdminCall, paging: Paging, upcoming: Ahead = None
) -> TimelineAnswer:
    """The timeline of any account, for operators."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        facts = await _read(call, connection, account.id, paging)
    return await _timeline(call, facts, upcoming)


async def _read(
    call: Call, connection: AsyncConnection, account_id: UUID, paging: PageRequest
) -> TimelineFacts:
    member = only_user(call)
    outlook = await store.outlook(connection, account_id, maker=member)

    def shown(row: RowMapping) -> HappenedAnswer:
        return HappenedAnswer.of(store.show(row, for_member=member is not None))

    parts = store.past(account_id, for_member=member is not None)
    past = await paginate_merged(connection, parts, paging, shown)
    return TimelineFacts(account_id, outlook, past)


async def _timeline(call: Call, facts: TimelineFacts, upcoming: int | None) -> TimelineAnswer:
    # A hundred steps take a second, for which the event loop would serve nobody else.
    async with call.services.timeline_turns.one():
        coming = await asyncio.to_thread(rules.project, facts.outlook, upcoming)
    return TimelineAnswer(
        account_id=ids.encode(ids.ACCOUNT, facts.account_id),
        now=facts.outlook.now,
        future=[ComingAnswer.of(one) for one in coming.entries],
        future_has_more=coming.has_more,
        past=facts.past.data,
        pagination=facts.past.pagination,
    )
