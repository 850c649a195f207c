"""Changing the catalog: by file from the command line, or one thing at a time by an operator.

Both compare first and write the difference only; what was sold stays as it was sold.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.audit import service as audit
from billing.catalog import changes as compare
from billing.catalog import store
from billing.catalog.changes import Change
from billing.catalog.spec import CatalogSpec, CostSpec, PackSpec, PlanSpec
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.products import changes as metering
from billing.products.spec import MeterSpec, ProductSpec

# Any number, the same in every process that changes the catalog: one change at a time.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(7214032)")


async def diff(connection: AsyncConnection, wanted: CatalogSpec) -> list[Change]:
    """What `apply` would change, with the subscriptions that keep what they bought.

    Needs a connection that may see every account's subscriptions (the operator's).
    """
    return compare.compare(wanted, await store.current(connection))


async def apply(connection: AsyncConnection, wanted: CatalogSpec) -> list[Change]:
    """Make the database sell exactly `wanted`; answers what was changed. Repeatable."""
    await connection.execute(_LOCK)
    return await _write(connection, await diff(connection, wanted))


async def put_plan(connection: AsyncConnection, key: str, plan: PlanSpec) -> list[Change]:
    """Add a plan or write its next version; a changed price touches new subscribers only [B11]."""
    await connection.execute(_LOCK)
    current = await store.current(connection)
    known = current.plans.get(key)
    position = known.position if known else len(current.plans)
    return await _write(connection, compare.compare_plan(key, plan, position, current))


async def put_pack(connection: AsyncConnection, key: str, pack: PackSpec) -> list[Change]:
    """Add or change a credit pack; purchases under way keep what they were started with."""
    await connection.execute(_LOCK)
    current = await store.current(connection)
    known = current.packs.get(key)
    position = known.position if known else len(current.packs)
    return await _write(connection, compare.compare_pack(key, pack, position, current))


async def put_cost(connection: AsyncConnection, operation: str, cost: CostSpec) -> list[Change]:
    """Set what an operation costs in credits [F5]."""
    await connection.execute(_LOCK)
    current = await store.current(connection)
    return await _write(connection, compare.compare_cost(operation, cost, current))


async def put_meter(connection: AsyncConnection, key: str, meter: MeterSpec) -> list[Change]:
    """Add or change what is counted, and the names callers use for it."""
    await connection.execute(_LOCK)
    current = await store.current(connection)
    return await _write(connection, metering.compare_meter(key, meter, current.metering))


async def put_product(connection: AsyncConnection, key: str, product: ProductSpec) -> list[Change]:
    """Add or change a product; a changed price holds from now on, past use keeps its own [B15].

    Errors: METER_NOT_FOUND.
    """
    await connection.execute(_LOCK)
    current = await store.current(connection)
    if product.meter not in current.metering.meters:
        raise NotFound("METER_NOT_FOUND", "no such meter")
    return await _write(connection, metering.compare_product(key, product, current.metering))


async def _write(connection: AsyncConnection, changes: Sequence[Change]) -> list[Change]:
    at = real_now()
    for change in changes:
        await store.write(connection, change, at)
        await audit.record(
            connection,
            account_id=None,
            action="catalog.change",
            subject=change.subject,
            at=at,
            words=change.words,
        )
    return list(changes)
