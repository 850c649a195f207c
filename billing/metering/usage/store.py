"""Queries on usage: periods, counters of a cycle, records (sums.py sums). None scans records."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Boolean,
    Select,
    and_,
    bindparam,
    false,
    func,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.core.errors import Invalid, NotFound
from billing.core.money import ZERO
from billing.core.prepared import Prepared
from billing.core.transaction_settings import allow_whole_cycle
from billing.ledger.credits.tables import credit_balances
from billing.metering.usage import months, rules
from billing.metering.usage.schemas import BillingRecord, Coming, Counter, Period, PricedUnits
from billing.metering.usage.tables import (
    billing_records,
    usage_alerts,
    usage_cycles,
    usage_periods,
)
from billing.platform.accounts import store as accounts

MOST_SPANS: Final = 20
"""Spans of days that one list looks through separately."""
MOST_CHANGES: Final = 12
"""Scheduled or agreed changes of a meter's terms that one answer looks beyond."""
_OPEN_PERIOD: Final = Prepared(text("SELECT usage_open_period(:account_id, :at)"))
_OPEN_AGAIN: Final = Prepared(
    text(
        "SELECT usage_open_period(:account_id, greatest(CAST(:at AS timestamptz), ("
        " SELECT p.start_at FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id"
        " WHERE b.account_id = :account_id)))"
    )
)
_DUE_PERIOD: Final = Prepared(
    text(
        "SELECT start_at, end_at, zone, subscription_id, currency, limits, no_entitlement,"
        " carried_since FROM usage_due_period(:account_id, :at) WHERE start_at IS NOT NULL"
    )
)
_COMING: Final = Prepared(
    text(
        "SELECT at, start_at, end_at, zone, subscription_id, currency, limits, no_entitlement,"
        " carried_since, is_known FROM usage_coming("
        "  :account_id, :meter, :at, CAST(:also AS timestamptz[]),"
        "  CAST(:freed AS timestamptz[]), :most)"
    )
)
_PAST_PERIOD: Final = Prepared(
    text(
        "SELECT p.start_at, p.end_at, p.zone, p.subscription_id, p.currency, p.no_entitlement,"
        " p.carried_since, CASE WHEN l.limits @? '$.*.shared' THEN"
        "  usage_carry_over(p.account_id, l.limits, p.carried_since, p.start_at)"
        "  ELSE l.limits END AS limits"
        " FROM usage_periods AS p CROSS JOIN LATERAL usage_limits_at("
        "  p.limits, p.no_entitlement, p.limits_before, :at, p.start_at, p.end_at) AS l(limits)"
        " WHERE p.account_id = :account_id AND p.start_at <= :at"
        " ORDER BY p.start_at DESC LIMIT 1"
    )
)
_PRODUCT_UNITS: Final = Prepared(
    text(
        "SELECT coalesce(quantity, 0) AS units, coalesce(credits, 0) AS credits,"
        " coalesce(overage_total, 0) AS money, CASE WHEN :most > 0 THEN usage_uses_before("
        "  :account_id, :owner, :meter, :start_at, :since, :most) ELSE 0 END AS uses"
        " FROM usage_product_units(:account_id, :owner, :meter, :start_at, :since)"
    )
)
_COUNTERS: Final = Prepared(
    text(
        "SELECT c.* FROM unnest(CAST(:starts AS timestamptz[])) AS s(at) CROSS JOIN LATERAL ("
        " SELECT * FROM usage_cycles WHERE account_id = :account_id AND owner = ''"
        " AND period_start = s.at AND meter = :meter OFFSET 0) AS c"
    )
)
_ONLY_PLANS_PAY: Final = text(
    "SELECT EXISTS (SELECT FROM meters WHERE key = :meter AND is_active) AND NOT EXISTS ("
    " SELECT FROM products AS p JOIN product_prices AS r ON r.product = p.key"
    " WHERE p.meter = :meter AND p.is_active AND r.effective_to IS NULL)"
)
_METER: Final = text(
    "SELECT k.meter, k.counts, usage_max_per_use(m.max_per_use) AS max_per_use"
    " FROM usage_metered_kinds(ARRAY[CAST("
    "ROW(:product, :service, :feature, :operation, NULL, NULL, NULL) AS usage_kind)]) AS k"
    " LEFT JOIN meters AS m ON m.key = k.meter"
)


async def open_period(connection: AsyncConnection, account_id: UUID, at: datetime) -> Period | None:
    """Return the allowance cycle at `at`, as the next use would find it; None: no such account."""
    found = await _begun_period(connection, account_id, at)
    if found is None:
        row = await _DUE_PERIOD.first(connection, account_id=account_id, at=at)
        found = Period.model_validate(dict(row)) if row else None
    return found


async def coming(
    connection: AsyncConnection,
    account_id: UUID,
    meter: str,
    at: datetime,
    also: Collection[datetime] = (),
    freed: Collection[datetime] = (),
) -> list[Coming]:
    """Return the periods that later uses of a meter meet, by what is scheduled or agreed, and those
    of further instants, in the order of time: of `freed` those under other terms than now.
    """
    rows = await _COMING.all(
        connection, account_id=account_id, meter=meter, at=at, also=list(also), freed=list(freed),
        most=MOST_CHANGES,
    )  # fmt: skip
    return [
        Coming(row.pop("at"), is_known=row.pop("is_known"), period=Period.model_validate(row))
        for row in rows
    ]


async def past_period(connection: AsyncConnection, account_id: UUID, at: datetime) -> Period | None:
    """Return the period of a late use of this time, with the limits that it meets; None before the
    first period.
    """
    row = await _PAST_PERIOD.first(connection, account_id=account_id, at=at)
    return Period.model_validate(dict(row)) if row else None


async def current_period(connection: AsyncConnection, account_id: UUID, at: datetime) -> Period:
    """Return the open period; begin one if none contains `at`, which takes the account's lock."""
    found = await _begun_period(connection, account_id, at)
    if found is None:
        await _OPEN_PERIOD.send(connection, account_id=account_id, at=at)
        found = await _begun_period(connection, account_id, at)
    if found is None:
        raise accounts.no_account()
    return found


async def _begun_period(
    connection: AsyncConnection, account_id: UUID, at: datetime
) -> Period | None:
    """Return the open period, if its terms hold at `at` and are not outdated."""
    period = usage_periods.c
    outdated = func.usage_is_outdated(
        period.subscription_id, period.plan_id, period.no_entitlement,
        select(func.plan_by_default()).scalar_subquery(), type_=Boolean,
    )  # fmt: skip
    query = (
        select(usage_periods)
        .join(credit_balances, credit_balances.c.period_id == period.id)
        .where(
            credit_balances.c.account_id == account_id,
            func.least(period.end_at, period.terms_until) > at,
            ~outdated,
        )
    )
    row = await prepared.find(connection, query)
    return Period.model_validate(dict(row)) if row else None


async def follow(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """Update the open period to the subscription's current terms; takes the account's lock."""
    await allow_whole_cycle(connection)
    await _OPEN_PERIOD.send(connection, account_id=account_id, at=at)


async def follow_again(connection: AsyncConnection, *, account_id: UUID, at: datetime) -> None:
    """Update the open period to what bounds its use now, also if it was begun a moment early."""
    await allow_whole_cycle(connection)
    await _OPEN_AGAIN.send(connection, account_id=account_id, at=at)


async def only_plans_pay(connection: AsyncConnection, meter: str) -> bool:
    """True if the meter exists, and no product that it counts has a price."""
    return bool(await connection.scalar(_ONLY_PLANS_PAY, {"meter": meter}))


async def operation_cost(
    connection: AsyncConnection, operation: str | None, at: datetime
) -> Decimal | None:
    """Return the price in credits of this operation without a product at an instant [F5]; None: it
    has none.
    """
    cost: Decimal | None = await connection.scalar(
        text("SELECT credit_cost(:operation, :at)"), {"operation": operation, "at": at}
    )
    return cost


async def meter_of(
    connection: AsyncConnection,
    product: str | None,
    service: str | None,
    feature: str | None,
    amount: Decimal = ZERO,
    operation: str | None = None,
    at: datetime | None = None,
) -> tuple[str, str]:
    """Return (meter, its kind) for the names a caller uses [X9], for a use of `amount`.

    An operation that is named alone needs a price, at `at` if that is given.

    Errors: METER_NOT_FOUND, PRODUCT_PRICING_NOT_FOUND, USAGE_TOO_LARGE.
    """
    named = {"product": product, "service": service, "feature": feature, "operation": operation}
    row = (await connection.execute(_METER, named)).one()
    if operation is not None and (product, service, feature) == (None, None, None):
        priced = row.meter is not None and (
            at is None or await operation_cost(connection, operation, at) is not None
        )
        if not priced:
            raise NotFound("METER_NOT_FOUND", rules.without_cost(operation))
    if row.meter is None:
        raise NotFound("METER_NOT_FOUND" if product is None else "PRODUCT_PRICING_NOT_FOUND")
    if amount > row.max_per_use:
        raise Invalid("USAGE_TOO_LARGE", rules.too_large(row.meter, row.max_per_use))
    return row.meter, row.counts


async def cycle_counters(
    connection: AsyncConnection, account_id: UUID, start_at: datetime
) -> dict[str, Counter]:
    """Return the account's own counters of one cycle, by meter."""
    cycle = usage_cycles.c
    rows = await connection.execute(
        select(usage_cycles).where(
            cycle.account_id == account_id, cycle.owner == "", cycle.period_start == start_at
        )
    )
    return {row["meter"]: Counter.model_validate(dict(row)) for row in rows.mappings()}


async def counters_at(
    connection: AsyncConnection, account_id: UUID, meter: str, starts: Collection[datetime]
) -> dict[datetime, Counter]:
    """Return the account's own counter of a meter in each of these cycles, by their starts."""
    rows = await _COUNTERS.all(
        connection, account_id=account_id, meter=meter, starts=list(set(starts))
    )
    return {row["period_start"]: Counter.model_validate(row) for row in rows}


async def priced_units(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    meter: str,
    period: Period,
    most: int,
) -> PricedUnits:
    """Return the units that a product's tiers or free units have rated, and their cost.

    Uses are counted up to `most`.
    """
    found = await _PRODUCT_UNITS.one(
        connection, account_id=account_id, owner=f"p:{product}", meter=meter,
        start_at=period.start_at, since=period.carried_since, most=most,
    )  # fmt: skip
    return PricedUnits(**found)


def records(account_id: UUID, **wanted: Any) -> Select[Any]:
    """Select an account's records with these column values (None: any)."""
    query = select(billing_records).where(billing_records.c.account_id == account_id)
    for name, value in wanted.items():
        if value is not None:
            # As a literal: with a parameter a generic plan could not use the partial index.
            known: BindParameter[Any] = bindparam(
                None, value, literal_execute=name == "billing_status"
            )
            query = query.where(billing_records.c[name] == known)
    return query


def alerts(account_id: UUID, only_user: str | None) -> Select[Any]:
    """Select the crossed thresholds; with `only_user`, without those of other users."""
    alert = usage_alerts.c
    query = select(usage_alerts).where(alert.account_id == account_id)
    if only_user is None:
        return query
    return query.where(or_(not_(alert.owner.like("u:%")), alert.owner == rules.user(only_user)))


def between(query: Select[Any], start: datetime | None, end: datetime | None) -> Select[Any]:
    """Restrict records to those that occurred from `start` to before `end`."""
    if start is not None:
        query = query.where(billing_records.c.occurred_at >= start)
    return query if end is None else query.where(billing_records.c.occurred_at < end)


def on_days(query: Select[Any], days: Sequence[datetime] | None) -> Select[Any]:
    """Restrict records to those of these days, oldest first; None: of any.

    No index knows days. Times bound what is read: a use may be told a little ahead of its day.
    """
    if days is None:
        return query
    spans: list[tuple[datetime, datetime]] = []
    for day in days:
        first = spans.pop()[0] if spans and day - spans[-1][1] <= 3 * rules.BESIDE else day
        spans.append((first, day))
    if len(spans) > MOST_SPANS:
        spans = [(days[0], days[-1])]
    at = billing_records.c.occurred_at
    return query.where(
        or_(false(), *(and_(at >= a - rules.BESIDE, at < b + 2 * rules.BESIDE) for a, b in spans))
    )


def paid_by(query: Select[Any], transaction_id: UUID) -> Select[Any]:
    """Restrict records to those that a ledger entry paid or refunded."""
    # OFFSET 0 has them looked up first, instead of by scanning in the order of the page.
    paid = select(months.behind([transaction_id]).c.id).offset(0)
    return query.where(billing_records.c.id.in_(paid))


async def account_of(connection: AsyncConnection, record_id: UUID) -> UUID:
    """Return the account of a record. Errors: BILLING_RECORD_NOT_FOUND, BILLING_RECORD_AWAY."""
    query = select(billing_records.c.account_id).where(*months.found_by(record_id))
    found: UUID | None = await connection.scalar(query)
    if found is None:
        raise await months.missing(connection, record_id)
    return found


async def get_record(
    connection: AsyncConnection, account_id: UUID, record_id: UUID, *, lock: bool = False
) -> BillingRecord:
    """Return one record. Errors: BILLING_RECORD_NOT_FOUND, BILLING_RECORD_AWAY."""
    # By its id alone: with its account, a plan for an average one reads all of a giant's month.
    query = select(billing_records).where(*months.found_by(record_id))
    row = await prepared.find(connection, query.with_for_update() if lock else query)
    if row is None or row["account_id"] != account_id:
        raise await months.missing(connection, record_id)
    return BillingRecord.model_validate(dict(row))
