"""Change the catalog: by file from the command line, or one object at a time by an operator.

Both compare first and write only the difference; existing subscriptions keep their terms.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.payment_kinds import changes as kind_changes
from billing.catalog.payment_kinds import store as kind_store
from billing.catalog.payment_kinds.schemas import PaymentKind
from billing.catalog.payment_kinds.spec import PaymentKindSpec
from billing.catalog.plans import changes as plan_changes
from billing.catalog.plans import store, writer
from billing.catalog.plans.changes import Change, Current, PriceChange, PriceKey, Sold
from billing.catalog.plans.schemas import Pack, Plan, Price
from billing.catalog.plans.spec import CatalogSpec, CostSpec, PackSpec, PlanSpec, PriceSpec
from billing.catalog.products import changes as product_changes
from billing.catalog.products.spec import MeterSpec, ProductSpec
from billing.catalog.taxes import changes as tax_changes
from billing.catalog.taxes import store as tax_store
from billing.catalog.taxes.spec import ONLY_REGIONS, JurisdictionSpec
from billing.core.clock import real_now
from billing.core.errors import NotFound, wrong_field
from billing.platform.audit import service as audit


async def diff(
    connection: AsyncConnection, wanted: CatalogSpec, sold: Mapping[PriceKey, Sold]
) -> list[Change]:
    """List what `apply` would change; `sold` counts the subscriptions on each price."""
    return plan_changes.compare(wanted, await store.current(connection, sold))


async def apply(
    connection: AsyncConnection, wanted: CatalogSpec, sold: Mapping[PriceKey, Sold]
) -> list[Change]:
    """Make the database sell exactly `wanted`; return the changes. Repeatable."""
    await writer.lock(connection)
    return await _write(connection, await diff(connection, wanted, sold))


async def put_plan(
    connection: AsyncConnection, key: str, plan: PlanSpec, sold: Mapping[PriceKey, Sold]
) -> list[Change]:
    """Add a plan or write its next version; a changed price affects only new subscribers [B11].

    Errors: METER_NOT_FOUND for a limit on an unknown meter, which would limit nothing.
    """
    await writer.lock(connection)
    current = await store.current(connection, sold)
    for limit in plan.limits:
        _demand_counted(limit.meter, current)
    position = _place(key, current.plans)
    return await _write(connection, plan_changes.compare_plan(key, plan, position, current))


async def replace_price(
    connection: AsyncConnection, old: Price, new: PriceSpec, sold: Mapping[PriceKey, Sold]
) -> list[Change]:
    """Replace a price if `old` is still its current version; subscribers keep theirs."""
    await writer.lock(connection)
    key: PriceKey = (old.kind, old.key, old.currency, old.interval)
    found = (await store.current(connection, sold)).prices.get(key)
    if found is None or found.id != old.id:
        return []
    change = PriceChange(key, found, new, sold.get(key, Sold()))
    return await _write(connection, [change])


async def plan_named(connection: AsyncConnection, key: str) -> Plan:
    """Return the current version of a plan, on sale or not. Errors: PLAN_NOT_FOUND."""
    plan = await store.find_plan(connection, key)
    if plan is None:
        raise NotFound("PLAN_NOT_FOUND", f"no plan {key!r}")
    return plan


async def put_default(connection: AsyncConnection, key: str | None) -> list[Change]:
    """Set the plan of accounts without a subscription; None: they have none.

    Errors: PLAN_NOT_FOUND.
    """
    await writer.lock(connection)
    current = await store.current(connection)
    if key is not None and key not in current.plans:
        raise NotFound("PLAN_NOT_FOUND")
    return await _write(connection, plan_changes.compare_default(key, current))


async def put_pack(connection: AsyncConnection, key: str, pack: PackSpec) -> list[Change]:
    """Add or change a credit pack; purchases in progress keep the terms they started with."""
    await writer.lock(connection)
    current = await store.current(connection)
    position = _place(key, current.packs)
    return await _write(connection, plan_changes.compare_pack(key, pack, position, current))


async def put_cost(connection: AsyncConnection, operation: str, cost: CostSpec) -> list[Change]:
    """Set what an operation costs in credits [F5]."""
    await writer.lock(connection)
    current = await store.current(connection)
    return await _write(connection, plan_changes.compare_cost(operation, cost, current))


async def put_payment_kind(
    connection: AsyncConnection, key: str, kind: PaymentKindSpec
) -> list[Change]:
    """Offer a kind of payment method, or change where it is offered [K1]."""
    await writer.lock(connection)
    current = await kind_store.current(connection)
    position = _place(key, current)
    return await _write(connection, kind_changes.compare_one(key, kind, position, current))


async def put_meter(connection: AsyncConnection, key: str, meter: MeterSpec) -> list[Change]:
    """Add or change a meter, and the names callers use for it."""
    await writer.lock(connection)
    current = await store.current(connection)
    return await _write(connection, product_changes.compare_meter(key, meter, current.metering))


async def put_product(connection: AsyncConnection, key: str, product: ProductSpec) -> list[Change]:
    """Add or change a product; a changed price applies from now on, not to past use [B15].

    Errors: METER_NOT_FOUND.
    """
    await writer.lock(connection)
    current = await store.current(connection)
    _demand_counted(product.meter, current)
    return await _write(connection, product_changes.compare_product(key, product, current.metering))


async def put_jurisdiction(
    connection: AsyncConnection, key: str, jurisdiction: JurisdictionSpec
) -> list[Change]:
    """Collect tax for a country or region, or change its rates for later drafts [L5].

    Errors: VALIDATION_FAILED for a country's tax instead of its own.
    """
    if not jurisdiction.suits(key):
        raise wrong_field("instead_of_country", ONLY_REGIONS)
    await writer.lock(connection)
    current = await tax_store.current(connection)
    found = tax_changes.compare_jurisdiction(key, jurisdiction, current)
    return await _write(connection, found)


async def put_inclusion(connection: AsyncConnection, currencies: Sequence[str]) -> list[Change]:
    """Set the currencies whose prices include tax."""
    await writer.lock(connection)
    current = await tax_store.current(connection)
    return await _write(connection, tax_changes.compare_inclusion(currencies, current))


def _place(key: str, current: Mapping[str, Plan | Pack | PaymentKind]) -> int:
    """Return an object's position in the catalog; a new one comes last."""
    known = current.get(key)
    return known.position if known else len(current)


def _demand_counted(meter: str, current: Current) -> None:
    known = current.metering.meters.get(meter)
    if known is None or not known.is_active:
        raise NotFound("METER_NOT_FOUND", f"no such meter: {meter}")


async def _write(connection: AsyncConnection, changes: Sequence[Change]) -> list[Change]:
    at = real_now()
    for change in changes:
        await writer.write(connection, change, at)
        await audit.record(
            connection,
            account_id=None,
            action="catalog.change",
            subject=change.subject,
            at=at,
            words=change.words,
        )
    return list(changes)
