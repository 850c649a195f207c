"""Entitlements from subscriptions or the default plan, and the count of sold plans.

Apart from the store, because both read the catalog beside the subscriptions.
"""

from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import rules
from billing.catalog.plans.changes import Held, PriceKey, Sold
from billing.catalog.plans.rules import OPEN_STATUSES
from billing.catalog.plans.schemas import Entitlements, Limit, Plan
from billing.catalog.plans.store import show_plan
from billing.catalog.plans.tables import plans
from billing.core import clock, prepared
from billing.core.periods import Interval
from billing.core.prepared import Fields
from billing.money.subscriptions.tables import subscription_items, subscriptions
from billing.platform.accounts.tables import accounts

# Written out, so that the planner sees the predicate of the partial index.
_OPEN: Final[list[ColumnElement[str]]] = [literal_column(f"'{status}'") for status in OPEN_STATUSES]


async def of_account(connection: AsyncConnection, account_id: UUID) -> Entitlements:
    """Return the entitlements of the open subscription; without one those of the default plan.

    A limit agreed with the account overrides the plan's. What is scheduled comes at its instant.
    """
    sub = subscriptions.c
    told = func.usage_subscription_at(account_id, await clock.now(connection, account_id))
    now = told.table_valued("id", "status", "plan_id", "cycle_start", name="now")
    start = now.c.cycle_start
    units = func.usage_add_on_units(sub.id, sub.current_period_end, start, type_=JSONB)
    # Add-ons chosen in a trial begin with the period after it.
    begun = or_(now.c.status != "trialing", start >= sub.current_period_end)
    limits = func.usage_own_limits(plans.c.limits, plans.c.seats, sub.id, start, type_=JSONB)
    agreed = func.usage_agreed_limits(sub.account_id, limits, type_=JSONB)
    query = (
        select(plans, now.c.status, sub.currency, agreed.label("agreed"))
        .add_columns(case((begun, units)).label("extra"))
        .join_from(now, subscriptions, sub.id == now.c.id)
        .join(plans, plans.c.id == now.c.plan_id)
        .where(now.c.status != "canceled")
    )
    row = await prepared.find(connection, query)
    if row is None:
        return await _by_default(connection, account_id)
    more = {meter: Decimal(units) for meter, units in (row["extra"] or {}).items()}
    return rules.entitle(_own_plan(row), row["status"], row["currency"], more)


async def _by_default(connection: AsyncConnection, account_id: UUID) -> Entitlements:
    agreed = func.usage_agreed_limits(account_id, plans.c.limits, type_=JSONB)
    query = select(plans, agreed.label("agreed")).where(plans.c.id == func.plan_by_default())
    row = await prepared.find(connection, query)
    if row is None:
        return rules.NO_PLAN
    return rules.entitle(_own_plan(row), None)


def _own_plan(row: Fields) -> Plan:
    """Return the plan with the account's own limits: many seats may exceed the bound of one."""
    limits = (
        Limit.model_validate({**one, "included": 0}).model_copy(
            update={"included": Decimal(one["included"])}
        )
        for one in row["agreed"]
    )
    return show_plan(row).model_copy(update={"limits": tuple(limits)})


async def sold(connection: AsyncConnection, plan: str | None = None) -> dict[PriceKey, Sold]:
    """Count the open subscriptions on each price, of one plan or all, without test accounts'.

    Needs a connection that may see every account's.
    """
    sub, item = subscriptions.c, subscription_items.c
    unit = func.coalesce(item.amount_minor, sub.amount_minor)
    parts = (
        sub.plan_key, sub.currency, sub.interval_unit, sub.interval_count, unit, sub.minimum_minor
    )  # fmt: skip
    seats = func.sum(func.coalesce(item.quantity, 1))
    of_plan = [sub.plan_key == plan] if plan is not None else []
    rows = await connection.execute(
        select(*parts, func.count(), seats)
        .join(accounts, accounts.c.id == sub.account_id)
        .outerjoin(subscription_items, and_(item.subscription_id == sub.id, item.kind == "plan"))
        .where(sub.status.in_(_OPEN), ~accounts.c.is_test, *of_plan)
        .group_by(*parts)
        .order_by(*parts)
    )
    found: dict[PriceKey, Sold] = {}
    for plan_key, currency, every, count, unit_minor, least, number, held in rows:
        key: PriceKey = ("plan", plan_key, currency, Interval(unit=every, count=count))
        before = found.get(key, Sold())
        found[key] = Sold((*before.held, Held(unit_minor, number, int(held), least)))
    return found
