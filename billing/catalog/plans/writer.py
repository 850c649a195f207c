"""Write catalog changes one at a time: old versions stay, the next version becomes current."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.payment_kinds import store as kind_store
from billing.catalog.payment_kinds.changes import PaymentKindChange
from billing.catalog.plans.changes import (
    Change,
    CostChange,
    DefaultPlanChange,
    PackChange,
    PlanChange,
    PriceChange,
    PriceKey,
)
from billing.catalog.plans.schemas import AgreedPrice
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
from billing.catalog.taxes.changes import CodesChange, InclusionChange, JurisdictionChange
from billing.core import ids

# Any number, the same in every process that changes the catalog.
_LOCK = text("SELECT pg_advisory_xact_lock(7214032)")


async def lock(connection: AsyncConnection) -> None:
    """Lock the catalog against other changes until the transaction ends."""
    await connection.execute(_LOCK)


async def write(connection: AsyncConnection, change: Change, at: datetime) -> None:
    """Write one change of the catalog."""
    match change:
        case PlanChange():
            await _write_plan(connection, change, at)
        case PriceChange():
            await _write_price(connection, change, at)
        case PackChange():
            await _write_pack(connection, change, at)
        case CostChange():
            await _write_cost(connection, change, at)
        case DefaultPlanChange():
            await _write_default(connection, change.new)
        case JurisdictionChange() | InclusionChange() | CodesChange():
            await tax_store.write(connection, change)
        case PaymentKindChange():
            await kind_store.write(connection, change)
        case _:
            await product_store.write(connection, change, at)


async def _write_plan(connection: AsyncConnection, change: PlanChange, at: datetime) -> None:
    """Write the plan's next version, or change unversioned fields in place."""
    old, new = change.old, change.new
    of_key = update(plans).where(plans.c.key == change.key, plans.c.is_current)
    if new is None:
        await connection.execute(of_key.values(is_active=False))
        return
    if old is not None and not change.fields:
        await connection.execute(of_key.values(is_active=new.is_active, position=change.position))
        return
    await connection.execute(of_key.values(is_current=False))
    await connection.execute(
        insert(plans).values(
            **new.model_dump(mode="json", exclude={"prices", "allowance", "monthly_credits"}),
            id=ids.new(),
            key=change.key,
            version=old.version + 1 if old else 1,
            monthly_credits=new.monthly_credits,
            allowance_unit=new.allowance_interval.unit,
            allowance_count=new.allowance_interval.count,
            position=change.position,
            is_current=True,
            created_at=at,
        )
    )


async def _write_price(connection: AsyncConnection, change: PriceChange, at: datetime) -> None:
    """Make the price's next version current for new customers, or stop offering the price."""
    of_key = _is_of(_columns(change.key))
    await connection.execute(update(prices).where(of_key).values(is_current=False))
    if change.new is not None:
        terms = change.new.model_dump()
        await _add_version(connection, change.key, at, is_current=True, **terms)


async def add_agreed_price(
    connection: AsyncConnection, plan: str, agreed: AgreedPrice, at: datetime
) -> UUID:
    """Add a price version that is sold to one account only; return its id."""
    await lock(connection)
    key: PriceKey = ("plan", plan, agreed.currency, agreed.interval)
    terms = {"amount_minor": agreed.amount_minor, "minimum_minor": agreed.minimum_minor}
    return await _add_version(connection, key, at, is_current=False, **terms)


async def _add_version(
    connection: AsyncConnection, key: PriceKey, at: datetime, **fields: Any
) -> UUID:
    """Add the next version of a price; return its id."""
    columns = _columns(key)
    last = await connection.scalar(select(func.max(prices.c.version)).where(_is_of(columns)))
    row_id = ids.new()
    version = {"id": row_id, "version": (last or 0) + 1, "created_at": at}
    await connection.execute(insert(prices).values(**columns, **version, **fields))
    return row_id


def _columns(key: PriceKey) -> dict[str, Any]:
    kind, name, currency, interval = key
    return {
        "kind": kind,
        "key": name,
        "currency": currency,
        "interval_unit": interval.unit if interval else None,
        "interval_count": interval.count if interval else None,
    }


def _is_of(columns: dict[str, Any]) -> ColumnElement[bool]:
    return and_(*(prices.c[name] == value for name, value in columns.items()))


async def _write_pack(connection: AsyncConnection, change: PackChange, at: datetime) -> None:
    """Write a pack under its key, or close it."""
    if change.new is None:
        await connection.execute(
            update(credit_packages)
            .where(credit_packages.c.key == change.key)
            .values(is_active=False)
        )
        return
    terms = change.new.model_dump(exclude={"prices"}) | {"position": change.position}
    await connection.execute(
        upsert(credit_packages)
        .values(**terms, id=ids.new(), key=change.key, created_at=at)
        .on_conflict_do_update(index_elements=["key"], set_=terms)
    )


async def _write_cost(connection: AsyncConnection, change: CostChange, at: datetime) -> None:
    """Write an operation's cost from now on; without a new one the built-in cost applies again."""
    before = await connection.scalar(select(func.credit_cost(change.operation, at)))
    # The first cost also applies to use from before it was written.
    if change.old is not None or before is not None:
        await connection.execute(
            upsert(past_credit_costs)
            .values(operation=change.operation, effective_to=at, cost=before)
            # Of two changes in one instant the first ends what was in force.
            .on_conflict_do_nothing()
        )
    terms = {
        "cost": change.new.cost if change.new else change.old.cost if change.old else 0,
        "is_active": change.new.is_active if change.new else False,
        "updated_at": at,
    }
    await connection.execute(
        upsert(credit_costs)
        .values(**terms, operation=change.operation)
        .on_conflict_do_update(index_elements=["operation"], set_=terms)
    )


async def _write_default(connection: AsyncConnection, key: str | None) -> None:
    """Write which plan accounts without a subscription have."""
    await connection.execute(
        upsert(default_plan)
        .values(is_only=True, plan_key=key)
        .on_conflict_do_update(index_elements=["is_only"], set_={"plan_key": key})
    )
