"""Sums of usage by name, by time bucket, and as statistics [G11-G14], read from counters."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, whole
from api.answers.problems import responses
from api.answers.schemas import Answer, OneWord, Total
from api.calls import EveryCall, ReadCall
from api.date_range import Days, MaybeDay, span
from api.dependencies import EveryRead, Fresh, MemberRead
from api.routes.base import new_router
from api.user_scope import only_user, user_of
from billing.catalog.rating.schemas import CREDIT
from billing.core.errors import Conflict, wrong_field
from billing.core.money import ZERO
from billing.metering.usage import aggregates, logs, rules, sums

MOST_ACCOUNTS: Final = 10_000
"""Accounts whose days are summed together: there is a row for each day, service and user."""
router = new_router("usage")

Grain = Literal["hour", "day", "month"]


class TotalsAnswer(Answer):
    """The sum of several uses; of a level, `quantity` is the highest reading."""

    quantity: Total = Field(description="Units of the meter; of a level the highest reading")
    events: int = Field(description="How many uses there were")
    credits: Total = Field(description="The credits that they cost")


class SumAnswer(TotalsAnswer):
    """The sum of the uses under one name."""

    name: str = Field(description="The name that the uses have in common; empty: they have none")


class SummaryAnswer(Answer):
    """Sums by operation, by model, by meter, and in all [G11].

    `by_operation` and `by_model` are the 100 largest, by credits and then by quantity.
    `other_operations` and `other_models` are all others together; null where there are no others.
    """

    by_operation: list[SumAnswer] = Field(
        description="The 100 operations with the most credits, then the largest quantity"
    )
    other_operations: TotalsAnswer | None = Field(
        description="All other operations together; null: there are none"
    )
    by_model: list[SumAnswer] = Field(
        description="The 100 models with the most credits, then the largest quantity"
    )
    other_models: TotalsAnswer | None = Field(
        description="All other models together; null: there are none"
    )
    by_meter: list[SumAnswer] = Field(description="The meters")
    total_events: int
    total_credits: Total
    start: datetime = Field(description="When the time that is summed up begins")
    end: datetime = Field(description="When it ends; it is no part of the time")
    as_of: datetime


class BucketAnswer(Answer):
    """The use of one meter in one hour, day or month [G12]; `maximum` is the largest use.

    Of a level, `quantity` is the highest reading.
    """

    start: datetime = Field(
        validation_alias="bucket", description="When the hour, day or month begins"
    )
    meter: str
    quantity: Total = Field(description="Units of the meter; of a level the highest reading")
    events: int = Field(description="How many uses there were")
    maximum: Total = Field(description="The units of the largest use")
    credits: Total = Field(description="The credits that they cost")


class AggregationsAnswer(Page[BucketAnswer]):
    """Buckets, newest first."""

    grain: Grain = Field(description="How long the time is that each row sums up")
    start: datetime = Field(description="When the time that is summed up begins")
    end: datetime = Field(description="When it ends; it is no part of the time")
    as_of: datetime


MOST_OF_HOURS: Final = timedelta(days=31)
"""Of a user or an organisation: no counter has their hours, so their records are read."""
FEATURES: Final = "features"
"""The name, in sums by service, of uses that have no service but a feature."""


class RevenueAnswer(Answer):
    """Total of completed records per currency, before tax and rounding."""

    total: Total = Field(description="What the uses cost, in units of the currency")
    by_service: dict[str, Total] = Field(description="The same by service")
    by_method: dict[str, Total] = Field(description="The same by what paid")


class StatsAnswer(Answer):
    """Billing of usage in a range of days [G14]; revenue is in credits unless it says otherwise."""

    total_billing_records: int = Field(description="How many billing records there are")
    pending_billing_records: int = Field(description="How many of them are not paid yet")
    completed_billing_records: int = Field(description="How many of them are paid")
    failed_billing_records: int = Field(description="How many of them failed to be paid")
    total_revenue: Total = Field(description="What the paid ones cost, in credits")
    revenue_by_service: dict[str, Total] = Field(description="The same by service")
    revenue_by_method: dict[str, Total] = Field(description="The same by what paid")
    revenue_by_currency: dict[str, RevenueAnswer] = Field(
        description="The same by currency, before tax and rounding"
    )
    active_users: int = Field(description="How many users have used something")
    active_organizations: int = Field(description="How many organisations have used something")
    stats_period_start: datetime = Field(description="When the time that is summed up begins")
    stats_period_end: datetime = Field(description="When it ends; it is no part of the time")
    as_of: datetime


@router.get("/usage/summary", responses=responses())
async def read_usage_summary(
    call: MemberRead, start_date: MaybeDay = None, end_date: MaybeDay = None, fresh: Fresh = False
) -> SummaryAnswer:
    """Sums by operation, model and meter over a range of days, by default the last thirty [G11].

    Captures of holds without a use count as the meter `credits`, for a member without the reasons
    of other users. `GET /usage/reports` lists all operations and models of uses.
    """
    async with call.reading(fresh=fresh) as connection:
        days = await span(call, connection, start_date, end_date)
        return await _summary(connection, call, days)


@router.get("/usage/aggregations", responses=responses("NOT_FOUND"))
async def read_usage_aggregations(
    call: MemberRead,
    grain: Grain = "day",
    user_id: OneWord = None,
    organization_id: OneWord = None,
    service_type: OneWord = None,
    start_date: MaybeDay = None,
    end_date: MaybeDay = None,
    fresh: Fresh = False,
) -> AggregationsAnswer:
    """Counters by day or month, or by hour for meters that are counted by hour [G12].

    Users, organisations and hours are counted by meter only: with `service_type` a meter that also
    counted another service in this range is summed from its records. So are the hours of a user or
    an organisation. An hour, of UTC, belongs to the day that it begins in. A member gets 404 for
    other users.
    """
    owner = _owner(call, user_id, organization_id)
    words = _uncounted(owner, grain, service_type)
    async with call.filtering(*words, fresh=fresh) as connection:
        days = await span(call, connection, start_date, end_date)
        data = await _aggregated(connection, call, owner, grain, service_type, days)
    return AggregationsAnswer(
        grain=grain,
        data=data,
        pagination=whole(len(data)),
        start=days.start,
        end=days.end,
        as_of=days.as_of,
    )


@router.get("/stats", responses=responses("TOO_MANY_ACCOUNTS"))
async def read_usage_stats(
    call: EveryRead, start_date: MaybeDay = None, end_date: MaybeDay = None, fresh: Fresh = False
) -> StatsAnswer:
    """Counts and revenue of billing records, by default of the last thirty days [G13, X33].

    Revenue is in credits; `revenue_by_currency` is in money: immediate card charges, and overage
    once it is invoiced. An operator who names no account gets all accounts together, without test
    accounts, while they are few: days are in UTC, and an account's own day is in the one that most
    of it falls on.
    """
    whose = None if isinstance(call, EveryCall) else call.account_id
    async with call.reading(fresh=fresh) as connection:
        if whose is None and await sums.has_more_accounts(connection, MOST_ACCOUNTS):
            raise Conflict(
                "TOO_MANY_ACCOUNTS", "there are too many accounts for one request: name one"
            )
        days = await span(call, connection, start_date, end_date)
        facets = (await connection.execute(sums.by_facet(whose, days.start, days.end))).all()
        active = [
            await connection.scalar(sums.names(whose, who, days.start, days.end)) or 0
            for who in ("u:", "o:")
        ]
    return _stats([tuple(row) for row in facets], active, days)


async def _summary(connection: AsyncConnection, call: ReadCall, days: Days) -> SummaryAnswer:
    operations, other_operations = await _sums_by_name(connection, call, "operation", days)
    models, other_models = await _sums_by_name(connection, call, "model", days)
    by_meter = await _sums_by_meter(connection, call.account_id, days)
    return SummaryAnswer(
        by_operation=operations,
        other_operations=other_operations,
        by_model=models,
        other_models=other_models,
        by_meter=by_meter,
        total_events=sum(one.events for one in by_meter),
        total_credits=sum((one.credits for one in by_meter), ZERO),
        start=days.start,
        end=days.end,
        as_of=days.as_of,
    )


async def _sums_by_name(
    connection: AsyncConnection, call: ReadCall, by: Literal["operation", "model"], days: Days
) -> tuple[list[SumAnswer], TotalsAnswer | None]:
    """(the largest sums, that of all other names)."""
    query = logs.largest(call.account_id, by, days.start, days.end, only_user(call))
    rows = (await connection.execute(query)).all()
    named = [SumAnswer.of(row) for row in rows if row.name is not None]
    return named, TotalsAnswer.of(rows[-1]) if len(rows) > len(named) else None


async def _sums_by_meter(
    connection: AsyncConnection, account_id: UUID, days: Days
) -> list[SumAnswer]:
    meters = await aggregates.by_meter(connection, account_id, days.start, days.end)
    return [SumAnswer(name=meter, **found) for meter, found in meters.items()]


def _owner(call: ReadCall, user_id: str | None, organization_id: str | None) -> str:
    """The owner of the requested counters; '' is the account."""
    if user_id and organization_id:
        raise wrong_field("organization_id", "cannot be combined with user_id")
    if user_id:
        return rules.user(user_of(user_id, call) or "")
    return rules.organization(organization_id) if organization_id else ""


def _uncounted(owner: str, grain: Grain, service: str | None) -> tuple[str | None, ...]:
    """Return the requested words that no counter knows in this combination."""
    hours = grain == "hour"
    return service if owner or hours else None, owner if hours else None


async def _aggregated(
    connection: AsyncConnection,
    call: ReadCall,
    owner: str,
    grain: Grain,
    service: str | None,
    days: Days,
) -> list[BucketAnswer]:
    kept = _kept(owner, grain, days)
    rows = await aggregates.buckets(
        connection, call.account_id, owner, kept, service, days.start, days.end
    )
    if grain == "month":
        rows = await aggregates.by_month(connection, rows, days.zone)
    return [BucketAnswer.of(row) for row in rows]


def _kept(owner: str, grain: Grain, days: Days) -> Literal["hour", "day"]:
    """Return the counters that a grain is made of. Error: VALIDATION_FAILED for too many hours."""
    if grain != "hour":
        return "day"
    if owner and days.last - days.first >= MOST_OF_HOURS:
        words = f"hours of one are summed for {MOST_OF_HOURS.days} days at most"
        raise wrong_field("start_date", words)
    return "hour"


def _stats(facets: Sequence[tuple[Any, ...]], active: list[int], days: Days) -> StatsAnswer:
    counts: defaultdict[str, int] = defaultdict(int)
    completed: defaultdict[str, list[tuple[str, str, Decimal]]] = defaultdict(list)
    for facet, events, _, spent, owed in facets:
        service, method, status, currency = facet.split("|")
        service = service or FEATURES
        counts[status] += events
        amount = spent if currency == CREDIT else owed
        if status == "completed" and amount:
            completed[currency].append((service, method, amount))
    in_credits = _revenue(completed.pop(CREDIT, []))
    return StatsAnswer(
        total_billing_records=sum(counts.values()),
        pending_billing_records=counts["pending"],
        completed_billing_records=counts["completed"],
        failed_billing_records=counts["failed"],
        total_revenue=in_credits.total,
        revenue_by_service=in_credits.by_service,
        revenue_by_method=in_credits.by_method,
        revenue_by_currency={
            currency: _revenue(amounts) for currency, amounts in sorted(completed.items())
        },
        active_users=active[0],
        active_organizations=active[1],
        stats_period_start=days.start,
        stats_period_end=days.end,
        as_of=days.as_of,
    )


def _revenue(amounts: Sequence[tuple[str, str, Decimal]]) -> RevenueAnswer:
    """Sums of (service, method, amount) of one currency."""
    services: defaultdict[str, Decimal] = defaultdict(Decimal)
    methods: defaultdict[str, Decimal] = defaultdict(Decimal)
    for service, method, amount in amounts:
        services[service] += amount
        methods[method] += amount
    return RevenueAnswer(
        total=sum(services.values(), ZERO), by_service=dict(services), by_method=dict(methods)
    )
