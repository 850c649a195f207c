"""Queries on plans, prices, packs and costs, current and earlier versions."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.payment_kinds import store as kind_store
from billing.catalog.plans import rules
from billing.catalog.plans.changes import (
    Current,
    PriceKey,
    Sold,
)
from billing.catalog.plans.schemas import (
    CreditCost,
    OfferedPack,
    OfferedPlan,
    Pack,
    PastCost,
    Plan,
    Price,
)
from billing.catalog.plans.tables import (
    credit_costs,
    credit_packages,
    default_plan,
    past_credit_costs,
    plans,
    prices,
)
from billing.catalog.products import store as product_store
from billing.catalog.taxes import store as tax_store
from billing.core import ids
from billing.core.errors import NotFound
from billing.core.periods import Interval
from billing.core.prepared import Fields, Prepared, given

_PLAN_FIELDS: Final = tuple(column.name for column in plans.c if column.name in Plan.model_fields)
_PLAN_OF_KEY = Prepared(select(plans).where(plans.c.key == given("plan_key"), plans.c.is_current))
_PLAN = Prepared(select(plans).where(plans.c.id == given("plan_id")))
_PLAN_PRICE = Prepared(
    select(prices).where(
        prices.c.kind == "plan",
        prices.c.key == given("plan_key"),
        prices.c.currency == given("in_currency"),
        prices.c.interval_unit == given("unit"),
        prices.c.interval_count == given("units"),
        prices.c.is_current,
    )
)
# An offer and its price are two rows: read separately, an edit in between could mix two offers.
_OFFERED_PLAN = Prepared(
    text(
        """
    SELECT to_jsonb(p) || jsonb_build_object('monthly_credits', p.monthly_credits::text) AS sold,
           to_jsonb(r) AS price
    FROM plans p
    LEFT JOIN prices r ON r.kind = 'plan' AND r.key = p.key AND r.is_current
         AND r.currency = :in_currency AND r.interval_unit = :unit AND r.interval_count = :units
    WHERE p.is_current AND p.is_active
      AND (p.id = CAST(:row_id AS uuid) OR p.key = CAST(:name AS text))
    """
    )
)
_OFFERED_PACK = Prepared(
    text(
        """
    SELECT to_jsonb(p) || jsonb_build_object('credits', p.credits::text) AS sold,
           to_jsonb(r) AS price
    FROM credit_packages p
    LEFT JOIN prices r ON r.kind = 'pack' AND r.key = p.key AND r.is_current
         AND r.currency = :in_currency
    WHERE p.is_active AND (p.id = CAST(:row_id AS uuid) OR p.key = CAST(:name AS text))
    """
    )
)
_PACK_OF_KEY = Prepared(select(credit_packages).where(credit_packages.c.key == given("pack_key")))
_PACK = Prepared(select(credit_packages).where(credit_packages.c.id == given("pack_id")))
_PACK_PRICE = Prepared(
    select(prices).where(
        prices.c.kind == "pack",
        prices.c.key == given("pack_key"),
        prices.c.currency == given("in_currency"),
        prices.c.is_current,
    )
)


async def find_plan(connection: AsyncConnection, key: str) -> Plan | None:
    """Return the current version of a plan by its key, or any version by its `pln_…` id."""
    plan_id = ids.parse(ids.PLAN, key)
    if plan_id is not None:
        row = await _PLAN.first(connection, plan_id=plan_id)
    else:
        row = await _PLAN_OF_KEY.first(connection, plan_key=key)
    return show_plan(row) if row else None


async def get_plan(connection: AsyncConnection, plan_id: UUID) -> Plan:
    """Return a version of a plan, current or not. Errors: PLAN_NOT_FOUND."""
    row = await _PLAN.first(connection, plan_id=plan_id)
    if row is None:
        raise NotFound("PLAN_NOT_FOUND")
    return show_plan(row)


async def default_key(connection: AsyncConnection) -> str | None:
    """Return the key of the plan that accounts without a subscription have."""
    key: str | None = await connection.scalar(select(default_plan.c.plan_key))
    return key


async def current_plans(connection: AsyncConnection, *, active_only: bool) -> list[Plan]:
    """Return the current version of each plan, in the order of the catalog."""
    query = select(plans).where(plans.c.is_current)
    if active_only:
        query = query.where(plans.c.is_active)
    rows = await connection.execute(query.order_by(plans.c.position, plans.c.key))
    return [show_plan(row) for row in rows.mappings()]


async def intervals(connection: AsyncConnection, plan_key: str) -> list[Interval]:
    """Return the intervals that a plan is sold by, in any currency."""
    rows = await connection.execute(
        select(prices.c.interval_unit, prices.c.interval_count)
        .where(prices.c.kind == "plan", prices.c.key == plan_key, prices.c.is_current)
        .distinct()
        .order_by(prices.c.interval_unit, prices.c.interval_count)
    )
    return [Interval(unit=row[0], count=row[1]) for row in rows]


async def plan_price(
    connection: AsyncConnection, plan_key: str, currency: str, interval: Interval
) -> Price | None:
    """Return the price for new subscribers, or None if it is not sold on these terms."""
    row = await _PLAN_PRICE.first(
        connection,
        plan_key=plan_key,
        in_currency=currency,
        unit=interval.unit,
        units=interval.count,
    )
    return show_price(row) if row else None


async def offered_plan(
    connection: AsyncConnection, name: str, currency: str, interval: Interval
) -> OfferedPlan | None:
    """Return a plan on sale, by key or `pln_…` id, with its price, in one statement."""
    row = await _OFFERED_PLAN.first(
        connection,
        row_id=ids.parse(ids.PLAN, name),
        name=name,
        in_currency=currency,
        unit=interval.unit,
        units=interval.count,
    )
    return OfferedPlan(show_plan(row["sold"]), _priced(row)) if row else None


async def offered_pack(connection: AsyncConnection, name: str, currency: str) -> OfferedPack | None:
    """Return a pack on sale, by key or `pck_…` id, with its price, in one statement."""
    query, values = pack_query(name, currency)
    return shown_pack(await query.all(connection, **values))


def pack_query(name: str, currency: str) -> tuple[Prepared, dict[str, Any]]:
    """Return the statement of `offered_pack` with its values, to be sent with others."""
    row_id = ids.parse(ids.PACK, name)
    return _OFFERED_PACK, {"row_id": row_id, "name": name, "in_currency": currency}


def shown_pack(rows: Sequence[Fields]) -> OfferedPack | None:
    """Return what `pack_query` found."""
    return OfferedPack(show_pack(rows[0]["sold"]), _priced(rows[0])) if rows else None


def _priced(row: Fields) -> Price | None:
    return show_price(row["price"]) if row["price"] is not None else None


async def current_prices(
    connection: AsyncConnection, kind: str, currency: str | None = None
) -> list[Price]:
    """Return every current price of plans or packs, cheapest first."""
    query = select(prices).where(prices.c.kind == kind, prices.c.is_current)
    if currency is not None:
        query = query.where(prices.c.currency == currency)
    rows = await connection.execute(query.order_by(prices.c.amount_minor, prices.c.id))
    return [show_price(row) for row in rows.mappings()]


async def find_pack(connection: AsyncConnection, key: str) -> Pack | None:
    """Return a pack by its key or `pck_…` id, on offer or not [X11]."""
    pack_id = ids.parse(ids.PACK, key)
    if pack_id is None:
        row = await _PACK_OF_KEY.first(connection, pack_key=key)
    else:
        row = await _PACK.first(connection, pack_id=pack_id)
    return show_pack(row) if row else None


async def packs(connection: AsyncConnection, *, active_only: bool) -> list[Pack]:
    """Return credit packs in the order of the catalog."""
    query = select(credit_packages)
    if active_only:
        query = query.where(credit_packages.c.is_active)
    rows = await connection.execute(
        query.order_by(credit_packages.c.position, credit_packages.c.key)
    )
    return [show_pack(row) for row in rows.mappings()]


async def pack_price(connection: AsyncConnection, key: str, currency: str) -> Price | None:
    """Return the price of a pack, or None if it is not sold in this currency."""
    row = await _PACK_PRICE.first(connection, pack_key=key, in_currency=currency)
    return show_price(row) if row else None


async def costs(connection: AsyncConnection) -> list[CreditCost]:
    """Return each operation with a row or a built-in cost, which replaces an inactive row."""
    rows = (await connection.execute(select(credit_costs))).mappings()
    known = {row["operation"]: _show_cost(row) for row in rows}
    for operation, cost in rules.BUILT_IN_COSTS.items():
        if operation not in known or not known[operation].is_active:
            known[operation] = CreditCost(
                operation=operation, cost=cost, is_active=True, built_in=True
            )
    return [known[operation] for operation in sorted(known)]


async def past_costs(connection: AsyncConnection) -> dict[str, list[PastCost]]:
    """Return the earlier costs of each operation that has any, newest first."""
    query = select(past_credit_costs).order_by(past_credit_costs.c.effective_to.desc())
    found: dict[str, list[PastCost]] = defaultdict(list)
    for row in (await connection.execute(query)).mappings():
        past = PastCost(cost=row["cost"], effective_to=row["effective_to"])
        found[row["operation"]].append(past)
    return found


async def is_empty(connection: AsyncConnection) -> bool:
    """True if no catalog was ever applied."""
    return not await connection.scalar(select(exists(select(plans.c.id))))


async def current(
    connection: AsyncConnection, sold: Mapping[PriceKey, Sold] = MappingProxyType({})
) -> Current:
    """Return the current catalog; `sold` are the subscriptions on each price."""
    rows = (await connection.execute(select(credit_costs))).mappings()
    return Current(
        plans={plan.key: plan for plan in await current_plans(connection, active_only=False)},
        packs={pack.key: pack for pack in await packs(connection, active_only=False)},
        costs={row["operation"]: _show_cost(row) for row in rows},
        prices={
            (price.kind, price.key, price.currency, price.interval): price
            for kind in ("plan", "pack")
            for price in await current_prices(connection, kind)
        },
        sold=sold,
        metering=await product_store.metering(connection),
        taxes=await tax_store.current(connection),
        payment_kinds=await kind_store.current(connection),
        default_plan=await default_key(connection),
    )


def _show_cost(row: Fields) -> CreditCost:
    return CreditCost(
        operation=row["operation"], cost=row["cost"], is_active=row["is_active"], built_in=False
    )


def show_plan(row: Fields) -> Plan:
    """Return a row of `plans` as a plan."""
    fields = {name: row[name] for name in _PLAN_FIELDS}
    allowance = Interval(unit=row["allowance_unit"], count=row["allowance_count"])
    return Plan.model_validate({**fields, "allowance": allowance})


@lru_cache(maxsize=256)
def read_plan(text: str) -> Plan:
    """Read a plan from a row in JSON; cached, because decisions read the same few versions."""
    return show_plan(json.loads(text))


def show_price(row: Fields) -> Price:
    """Return a row of `prices` as a price."""
    fields = {name: row[name] for name in Price.model_fields if name != "interval"}
    interval = (
        Interval(unit=row["interval_unit"], count=row["interval_count"])
        if row["interval_unit"]
        else None
    )
    return Price.model_validate({**fields, "interval": interval})


def show_pack(row: Fields) -> Pack:
    """Return a row of `credit_packages` as a pack."""
    return Pack.model_validate({name: row[name] for name in Pack.model_fields})
