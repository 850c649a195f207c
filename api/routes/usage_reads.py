"""Reads of usage: the open cycle against plan and quotas, and single uses [G8-G10, H5]."""

from collections.abc import Container, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import (
    Page,
    PageAsOf,
    PageRequest,
    Paging,
    as_page,
    paginate,
    paginate_merged,
)
from api.answers.problems import responses
from api.answers.schemas import Answer, OneWord, Owner, OwnerId, Total
from api.date_range import MaybeMoment, moments
from api.dependencies import Fresh, MemberRead
from api.routes.base import new_router
from api.routes.billing_record_bodies import RatedAnswer
from api.routes.billing_records import KEYS
from api.user_scope import only_user, user_of
from billing.core import clock, ids
from billing.core.money import ZERO
from billing.ledger.credits.tables import capture_logs
from billing.metering.limit_overrides import store as agreed_limits
from billing.metering.quotas import bounds
from billing.metering.quotas import service as quotas
from billing.metering.quotas import store as quota_store
from billing.metering.quotas.schemas import Quota
from billing.metering.usage import logs, quoting, rules, store
from billing.metering.usage.schemas import Counter, Period, Status
from billing.metering.usage.tables import usage_alerts
from billing.money.subscriptions import entitlements

router = new_router("usage")

CAPTURE_KEYS: Final = (capture_logs.c.created_at, capture_logs.c.transaction_id)

# The console expects these meters even before any use [G9].
ALWAYS: Final = ("impressions", "api_calls", "data_transfer_gb")

_UNUSED: Final = Counter(
    meter="", quantity=ZERO, events=0, maximum=ZERO, last_value=ZERO, credits=ZERO, overage=ZERO,
    overage_total=ZERO, covered=ZERO, net_overage=ZERO, net_overage_total=ZERO,
)  # fmt: skip


class MeterAnswer(Answer):
    """The use of one meter in the open cycle, against the plan.

    If use of the month before the cycle began counts too, `used_before` is the part of `included`
    that it took. What is claimed of a plan that blocks and not recorded yet is neither `quantity`
    nor `remaining`. `used` in `/usage/limits` is `used_before` plus `quantity` plus claims.
    """

    quantity: Total = Field(description="Units used in the cycle; of a level the highest reading")
    events: int = Field(description="How many uses there were")
    maximum: Total = Field(description="The units of the largest use")
    last_value: Total = Field(description="The units of the last use; of a level the last reading")
    included: Total | None
    used_before: Total
    remaining: Total | None = Field(
        description="Included units that are left; null: there is no limit"
    )
    then: str | None
    overage: Total = Field(
        validation_alias="net_overage",
        description="Units beyond the included ones that invoices charge",
    )
    overage_cost: Total = Field(
        validation_alias="net_overage_total",
        description="What they cost so far, in whole units of the currency",
    )
    credits: Total = Field(description="The credits that the uses cost")


class OveragesAnswer(Answer):
    """The overage of the cycle so far, with what an early invoice billed."""

    total_overage_cost: Total
    currency: str | None
    by_meter: dict[str, Total] = Field(description="The same by meter")


class UsageAnswer(Answer):
    """The open allowance cycle: the sum of each meter, and each meter against the plan [G8, G9]."""

    current_period: dict[str, Total] = Field(description="The units used in the cycle, by meter")
    meters: dict[str, MeterAnswer] = Field(description="Each meter against the plan")
    overages: OveragesAnswer = Field(description="What use beyond the plan costs so far")
    plan: str | None = Field(description="The key of the plan; null: none")
    period_start: datetime | None = Field(
        description="When the allowance cycle began; null: there is none"
    )
    period_end: datetime | None = Field(
        description="When the allowance cycle ends; null: there is none"
    )
    as_of: datetime


class LimitAnswer(Answer):
    """One limit and the use that counts against it [H5]; `agreed` is one agreed with the account
    instead of its plan's [B16].
    """

    source: Literal["plan", "agreed", "quota"] = Field(
        description="`plan`, `agreed` with the account instead, or a `quota`"
    )
    meter: str
    owner: Owner
    owner_id: OwnerId = Field(validation_alias="owner")
    window: str
    limit: Total = Field(description="Units that may be used per window")
    used: Total = Field(description="Units that count against it")
    remaining: Total = Field(description="Units that are left")
    hard: bool = Field(validation_alias="is_hard")
    resets_at: datetime | None


class AlertAnswer(Answer):
    """A threshold of a plan's limit, a quota or a budget that was crossed, once per window [H9].

    `subject_id` is the quota or budget; a budget's figures are in its own unit.
    """

    source: Literal["plan", "quota", "budget"] = Field(
        description="What the threshold is of: the `plan`, a `quota` or a `budget`"
    )
    subject_id: str | None = Field(description="The quota or budget; null: it is the plan's")
    meter: str
    owner: Owner
    owner_id: OwnerId = Field(validation_alias="owner")
    threshold_percent: int = Field(validation_alias="threshold")
    window_start: datetime
    limit: Total = Field(
        validation_alias="limit_amount", description="The limit; of a budget in what it measures"
    )
    used: Total = Field(
        validation_alias="used_amount",
        description="What was used when it was crossed; of a budget in what it measures",
    )
    created_at: datetime

    @classmethod
    def of_row(cls, row: RowMapping) -> Self:
        """Show the alert; its subject is stored as a word and an id."""
        source, _, name = row["subject"].partition(" ")
        quota = source == "quota"
        return cls.of(
            row,
            source=source,
            subject_id=ids.encode(ids.QUOTA, UUID(name)) if quota else name or None,
        )


class LogAnswer(RatedAnswer):
    """A use, or the capture of a hold. A capture has no billing record; the credits are its usage,
    and the caller's reason is its `operation`.
    """

    billing_id: str | None = Field(
        description="The billing record of the use; null: it is a capture"
    )
    kind: Literal["usage", "capture"] = Field(
        description="`usage`, or `capture` of a hold without a use"
    )

    @classmethod
    def of_row(cls, row: RowMapping) -> Self:
        """Show a row of `logs.uses` or `logs.captures`."""
        record = row["kind"] == "usage"
        return cls.of(
            row,
            billing_id=ids.encode(ids.BILLING_RECORD, row["id"]) if record else None,
            is_included=row["charged_units"] == 0,
        )


@router.get("/usage/current", responses=responses())
async def read_current_usage(call: MemberRead, fresh: Fresh = False) -> UsageAnswer:
    """Usage of the open cycle against the plan's limits; zeros for an unknown account [A13].

    Each record updates the counters, so the answer is complete up to `as_of`.
    """
    if call.account is None:
        return _usage(None, {}, {}, None, clock.real_now())
    async with call.reading(fresh=fresh) as connection:
        at = await clock.now(connection, call.account.id)
        behind = await call.database.lag(connection)
        period = await store.open_period(connection, call.account.id, at)
        counters: dict[str, Counter] = {}
        claimed: dict[str, Decimal] = {}
        plan = None
        if period is not None:
            claimed = await quoting.claimed(connection, call.account.id, period, at)
            counters = await store.cycle_counters(connection, call.account.id, period.start_at)
            plan = (await entitlements.of_account(connection, call.account.id)).plan
    return _usage(period, counters, claimed, plan, at - behind)


@router.get("/usage/limits", responses=responses("INVALID_CURSOR", "NOT_FOUND"))
async def list_usage_limits(
    call: MemberRead, paging: Paging, user_id: OneWord = None, fresh: Fresh = False
) -> PageAsOf[LimitAnswer]:
    """The plan's limits, then the account's quotas, newest first, each with the use that counts
    against it [H5, B16]; with `user_id` those that apply to this user, including the default for
    each user: its own come before those of the account and of organisations.

    A member sees those that apply to itself. An unknown account has none [A13].
    """
    only = user_of(user_id, call)
    if call.account is None:
        return PageAsOf.of(as_page([]), clock.real_now())
    async with call.reading(fresh=fresh) as connection:
        as_of = await call.as_of(connection)
        page = await _limits(connection, call.account.id, only, paging)
    return PageAsOf.of(page, as_of)


@router.get("/usage/alerts", responses=responses("INVALID_CURSOR"))
async def list_usage_alerts(
    call: MemberRead, paging: Paging, fresh: Fresh = False
) -> PageAsOf[AlertAnswer]:
    """Thresholds that were crossed, newest first; a member does not see those of other users."""
    query = store.alerts(call.account_id, only_user(call))
    async with call.reading(fresh=fresh) as connection:
        as_of = await call.as_of(connection)
        page = await paginate(
            connection, query, (usage_alerts.c.created_at, usage_alerts.c.id), paging,
            AlertAnswer.of_row,
        )  # fmt: skip
    return PageAsOf.of(page, as_of)


@router.get("/usage/logs", responses=responses("INVALID_CURSOR", "NOT_FOUND"))
async def list_usage_logs(
    call: MemberRead,
    paging: Paging,
    operation: OneWord = None,
    model: OneWord = None,
    service_type: OneWord = None,
    user_id: OneWord = None,
    status: Status | None = None,
    start_date: MaybeMoment = None,
    end_date: MaybeMoment = None,
    fresh: Fresh = False,
) -> PageAsOf[LogAnswer]:
    """Single uses, newest first, and captures of holds without a use: together everything that
    spent credits [F4, G10]. A member sees only its own uses, and captures of its own holds [A14].
    """
    wanted: dict[str, str | None] = {
        "operation": operation, "model": model, "service_type": service_type,
        "user_id": user_of(user_id, call), "billing_status": status,
    }  # fmt: skip
    async with call.filtering(operation, model, service_type, fresh=fresh) as connection:
        as_of = await call.as_of(connection)
        days = await moments(call, connection, start_date, end_date)
        both = (
            (await logs.uses(connection, call.account_id, days, **wanted), KEYS),
            (logs.captures(call.account_id, days, **wanted), CAPTURE_KEYS),
        )
        page = await paginate_merged(connection, both, paging, LogAnswer.of_row)
    return PageAsOf.of(page, as_of)


async def _limits(
    connection: AsyncConnection, account_id: UUID, only: str | None, paging: PageRequest
) -> Page[LimitAnswer]:
    """Read the page: the plan's limits and the user's own quotas are few, only others are cut."""
    at = await clock.now(connection, account_id)
    period = await store.open_period(connection, account_id, at)
    first: list[LimitAnswer] = []
    if period is not None:
        counters = await store.cycle_counters(connection, account_id, period.start_at)
        claimed = await quoting.claimed(connection, account_id, period, at)
        agreed = await agreed_limits.holding(connection, account_id, at)
        first += _plan_limits(period, counters, claimed, agreed)
    if only is not None:
        own = await quotas.standing(connection, account_id, [rules.user(only)], period, at)
        first += [_quota_limit(quota, period, at) for quota in own]
    queries = quota_store.after_others(len(first), account_id, of_users=only is None)
    page = await paginate_merged(connection, queries, paging, dict)
    owners = {row["owner"] for row in page.data if not row["place"]}
    known = {
        quota.id: quota
        for quota in await quotas.standing(connection, account_id, owners, period, at)
        if not quota.is_derived
    }
    return Page(
        data=[
            first[-row["place"]] if row["place"] else _quota_limit(known[row["id"]], period, at)
            for row in page.data
            if row["place"] or row["id"] in known  # it may have been deleted since
        ],
        pagination=page.pagination,
    )


def _plan_limits(
    period: Period,
    counters: dict[str, Counter],
    claimed: dict[str, Decimal],
    agreed: Container[str],
) -> Iterator[LimitAnswer]:
    for meter in sorted(period.limits):
        bound = bounds.of_plan(period, meter, counters.get(meter), claimed)
        yield LimitAnswer.of(
            bound,
            source="agreed" if meter in agreed else "plan",
            meter=meter, owner="", window="cycle", remaining=bound.remaining,
        )  # fmt: skip


def _quota_limit(quota: Quota, period: Period | None, at: datetime) -> LimitAnswer:
    zone, end = (period.zone, period.end_at) if period else ("UTC", at)
    bound = bounds.of_quota(quota, zone, end, at)
    return LimitAnswer.of(
        bound,
        meter=quota.meter,
        owner=quota.owner,
        window=quota.window_kind,
        remaining=bound.remaining,
    )


def _usage(
    period: Period | None,
    counters: dict[str, Counter],
    claimed: dict[str, Decimal],
    plan: str | None,
    at: datetime,
) -> UsageAnswer:
    limits = period.limits if period else {}
    meters = {
        meter: _meter(counters.get(meter) or _UNUSED, period, meter, claimed)
        for meter in sorted({*counters, *limits})
    }
    over = {meter: one.overage_cost for meter, one in meters.items() if one.overage_cost}
    return UsageAnswer(
        current_period=dict.fromkeys(ALWAYS, ZERO)
        | {meter: one.quantity for meter, one in meters.items()},
        meters=meters,
        overages=OveragesAnswer(
            total_overage_cost=sum(over.values(), ZERO),
            currency=period.currency if period else None,
            by_meter=over,
        ),
        plan=plan,
        period_start=period.start_at if period else None,
        period_end=period.end_at if period else None,
        as_of=at.astimezone(UTC),
    )


def _meter(
    counter: Counter, period: Period | None, meter: str, claimed: dict[str, Decimal]
) -> MeterAnswer:
    limit = period.limits.get(meter) if period else None
    if period is None or limit is None:
        return MeterAnswer.of(counter, included=None, used_before=ZERO, remaining=None, then=None)
    return MeterAnswer.of(
        counter,
        included=limit.whole,
        used_before=limit.carried,
        remaining=bounds.of_plan(period, meter, counter, claimed).remaining,
        then=limit.then,
    )
