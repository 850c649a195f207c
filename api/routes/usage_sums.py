"""Usage in sums: by name, by bucket of time, and as statistics [G11-G14]; never by a scan."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AccountCall, MemberCall
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Credits
from billing.accounts import store as accounts
from billing.core import periods
from billing.core.clock import real_now
from billing.core.errors import Invalid
from billing.core.money import ZERO
from billing.usage import rules, store

router = new_router("usage")

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400
MaybeDay = Annotated[
    date | None, Query(description="A day such as 2026-12-01, in the account's zone; inclusive.")
]
OneWord = Annotated[str | None, Query(max_length=255)]


class SumAnswer(Answer):
    """Uses under one name."""

    name: str
    quantity: Credits
    events: int
    credits: Credits


class SummaryAnswer(Answer):
    """Uses by operation and by model, and in all [G11]."""

    by_operation: list[SumAnswer]
    by_model: list[SumAnswer]
    by_meter: list[SumAnswer]
    total_events: int
    total_credits: Credits
    start: datetime
    end: datetime


class BucketAnswer(Answer):
    """What was used of one meter in one hour, day or month [G12]."""

    start: datetime
    meter: str
    quantity: Credits
    events: int
    maximum: Credits
    credits: Credits


class AggregationsAnswer(Answer):
    """Buckets, newest first."""

    grain: Literal["hour", "day", "month"]
    data: list[BucketAnswer]
    start: datetime
    end: datetime


class StatsAnswer(Answer):
    """What was billed for usage in a span of days [G14]."""

    total_billing_records: int
    pending_billing_records: int
    completed_billing_records: int
    failed_billing_records: int
    total_revenue: Credits
    revenue_by_service: dict[str, Credits]
    revenue_by_method: dict[str, Credits]
    active_users: int
    active_organizations: int
    stats_period_start: datetime
    stats_period_end: datetime


@router.get("/usage/summary", responses=responses("MERCHANT_NOT_FOUND"))
async def read_usage_summary(
    call: MemberCall, start_date: MaybeDay = None, end_date: MaybeDay = None
) -> SummaryAnswer:
    """Uses by operation, model and meter, of these days; by default the last thirty [G11]."""
    async with call.transaction() as connection:
        start, end, _ = await _span(call, connection, start_date, end_date)
        words = [
            [
                SumAnswer(
                    name=row.owner[2:], quantity=row.quantity, events=row.events,
                    credits=row.credits,
                )
                for row in await connection.execute(
                    store.by_word(call.account.id, prefix, start, end)
                )
            ]
            for prefix in ("a:", "m:")
        ]  # fmt: skip
        meters: defaultdict[str, list[Any]] = defaultdict(list)
        for row in await connection.execute(store.buckets(call.account.id, "", "day", start, end)):
            meters[row.meter].append(row)
    sums = [
        SumAnswer(
            name=meter,
            quantity=sum((row.quantity for row in rows), ZERO),
            events=sum(row.events for row in rows),
            credits=sum((row.credits for row in rows), ZERO),
        )
        for meter, rows in sorted(meters.items())
    ]
    return SummaryAnswer(
        by_operation=words[0],
        by_model=words[1],
        by_meter=sums,
        total_events=sum(one.events for one in sums),
        total_credits=sum((one.credits for one in sums), ZERO),
        start=start,
        end=end,
    )


@router.get("/usage/aggregations", responses=responses("MERCHANT_NOT_FOUND"))
async def read_usage_aggregations(
    call: MemberCall,
    grain: Literal["hour", "day", "month"] = "day",
    user_id: OneWord = None,
    organization_id: OneWord = None,
    service_type: OneWord = None,
    start_date: MaybeDay = None,
    end_date: MaybeDay = None,
) -> AggregationsAnswer:
    """Counters of days or months, or of hours where a meter counts them [G12]."""
    owner = rules.user(user_id) if user_id else ""
    owner = rules.organization(organization_id) if organization_id and not user_id else owner
    async with call.transaction() as connection:
        start, end, zone = await _span(call, connection, start_date, end_date)
        meters = await store.meters_of(connection, service_type) if service_type else None
        kept = "hour" if grain == "hour" else "day"
        query = store.buckets(call.account.id, owner, kept, start, end, meters)
        rows = (await connection.execute(query)).all()
    data = [
        BucketAnswer(
            start=row.bucket, meter=row.meter, quantity=row.quantity, events=row.events,
            maximum=row.maximum, credits=row.credits,
        )
        for row in rows
    ]  # fmt: skip
    if grain == "month":
        data = _by_month(data, zone)
    return AggregationsAnswer(grain=grain, data=data, start=start, end=end)


@router.get("/stats", responses=responses("MERCHANT_NOT_FOUND"))
async def read_usage_stats(
    call: MemberCall, start_date: MaybeDay = None, end_date: MaybeDay = None
) -> StatsAnswer:
    """Billing records counted, and what they come to; by default the last thirty days [G13, X33].

    Revenue is in credits; what the next invoice charges is not revenue yet.
    """
    async with call.transaction() as connection:
        start, end, _ = await _span(call, connection, start_date, end_date)
        facets = (await connection.execute(store.by_facet(call.account.id, start, end))).all()
        active = [
            len((await connection.execute(store.by_word(call.account.id, who, start, end))).all())
            for who in ("u:", "o:")
        ]
    return _stats([tuple(row) for row in facets], active, start, end)


def _stats(
    facets: Sequence[tuple[Any, ...]], active: list[int], start: datetime, end: datetime
) -> StatsAnswer:
    counts: defaultdict[str, int] = defaultdict(int)
    services: defaultdict[str, Decimal] = defaultdict(Decimal)
    methods: defaultdict[str, Decimal] = defaultdict(Decimal)
    for facet, events, _, spent, _ in facets:
        service, method, status, _ = facet.split("|")
        counts[status] += events
        if status == "completed" and spent:
            services[service] += spent
            methods[method] += spent
    return StatsAnswer(
        total_billing_records=sum(counts.values()),
        pending_billing_records=counts["pending"],
        completed_billing_records=counts["completed"],
        failed_billing_records=counts["failed"],
        total_revenue=sum(services.values(), ZERO),
        revenue_by_service=dict(services),
        revenue_by_method=dict(methods),
        active_users=active[0],
        active_organizations=active[1],
        stats_period_start=start,
        stats_period_end=end,
    )


async def _span(
    call: AccountCall, connection: AsyncConnection, first: date | None, last: date | None
) -> tuple[datetime, datetime, str]:
    """(start, end, zone) of whole days; without dates the trailing thirty, today included."""
    account = await accounts.get(connection, call.account.id)
    zone = account.zone if account else "UTC"
    now = account.clock_at if account and account.clock_at else real_now()
    last = last or periods.to_wall(now, zone).date()
    first = first or last - timedelta(days=DEFAULT_DAYS - 1)
    if not 0 <= (last - first).days < MAX_DAYS:
        raise Invalid("VALIDATION_FAILED", f"end_date: from start_date up to {MAX_DAYS} days on")
    start, end = (
        periods.from_wall(datetime.combine(day, time()), zone)
        for day in (first, last + timedelta(days=1))
    )
    return start, end, zone


def _by_month(days: list[BucketAnswer], zone: str) -> list[BucketAnswer]:
    """Days of one calendar month as one bucket per meter, newest first."""
    months: dict[tuple[datetime, str], BucketAnswer] = {}
    for day in days:
        wall = periods.to_wall(day.start, zone).replace(day=1)
        start = periods.from_wall(wall, zone)
        known = months.get((start, day.meter))
        months[start, day.meter] = BucketAnswer(
            start=start,
            meter=day.meter,
            quantity=day.quantity + (known.quantity if known else ZERO),
            events=day.events + (known.events if known else 0),
            maximum=max(day.maximum, known.maximum if known else ZERO),
            credits=day.credits + (known.credits if known else ZERO),
        )
    return list(months.values())
