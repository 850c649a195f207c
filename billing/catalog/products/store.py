"""Queries on meters, products and their prices."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, case, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products.changes import (
    MeterChange,
    Metering,
    MeteringChange,
    ProductChange,
    ProductPriceChange,
)
from billing.catalog.products.schemas import Meter, Override, Product, ProductPrice
from billing.catalog.products.tables import meters, price_overrides, product_prices, products
from billing.catalog.rating.schemas import PriceTerms
from billing.core import ids, prepared, row_writes
from billing.core.errors import NotFound
from billing.core.periods import EPOCH
from billing.core.prepared import Fields


async def metering(connection: AsyncConnection) -> Metering:
    """Return all meters and products, and the current prices."""
    prices = await connection.execute(
        select(product_prices).where(product_prices.c.effective_to.is_(None))
    )
    sold = await connection.execute(
        select(products).where(products.c.source == "catalog").order_by(products.c.key)
    )
    return Metering(
        meters={meter.key: meter for meter in await all_meters(connection)},
        products={row["key"]: show_product(row) for row in sold.mappings()},
        prices={(row["product"], row["currency"]): show_price(row) for row in prices.mappings()},
    )


async def all_meters(connection: AsyncConnection) -> list[Meter]:
    """Return every meter by key, active or not."""
    shown = select(*(one for one in meters.c if one.name in Meter.model_fields))
    rows = await connection.execute(shown.order_by(meters.c.key))
    return [Meter.model_validate(dict(row)) for row in rows.mappings()]


async def is_meter(connection: AsyncConnection, key: str) -> bool:
    """True if an active meter has this key."""
    query = select(meters.c.key).where(meters.c.key == key, meters.c.is_active)
    return await prepared.find(connection, query) is not None


def listing() -> Select[Any]:
    """Select every product, active or not; the caller adds order and limit."""
    return select(products)


async def find_product(connection: AsyncConnection, key: str) -> Product | None:
    """Return a product if it is active."""
    query = select(products).where(products.c.key == key, products.c.is_active)
    row = await prepared.find(connection, query)
    return show_product(row) if row else None


async def origin(connection: AsyncConnection, key: str) -> Fields | None:
    """Return the `source` and `service_type` of a product, also if it is off sale."""
    query = select(products.c.source, products.c.service_type).where(products.c.key == key)
    return await prepared.find(connection, query)


async def versions(
    connection: AsyncConnection, keys: Collection[str]
) -> dict[str, list[ProductPrice]]:
    """Return every version of the prices of these products, newest first."""
    query = select(product_prices).where(product_prices.c.product.in_(keys))
    rows = await connection.execute(query.order_by(product_prices.c.effective_from.desc()))
    found: dict[str, list[ProductPrice]] = {key: [] for key in keys}
    for row in rows.mappings():
        found[row["product"]].append(show_price(row))
    return found


async def price_at(
    connection: AsyncConnection, account_id: UUID, product: str, currency: str, at: datetime
) -> ProductPrice | None:
    """Return a product's price for an account at an instant: its override, else the product's.

    What the product service prices for the account has no price of the catalog, in any currency.
    """
    own = price_overrides.c
    query = (
        _in_force(price_overrides, product, at)
        .where(own.account_id == account_id, or_(own.currency == currency, own.source == "service"))
        .order_by((own.currency == currency).desc(), own.effective_from.desc())
    )
    row = await prepared.find(connection, query)
    if row is None:
        listed = product_prices.c
        query = _in_force(product_prices, product, at).where(listed.currency == currency)
        row = await prepared.find(connection, query.order_by(listed.effective_from.desc()))
    return show_price(row) if row is not None and row["currency"] == currency else None


async def write(connection: AsyncConnection, change: MeteringChange, at: datetime) -> None:
    """Write one change of meters, products or prices."""
    match change:
        case MeterChange():
            await _write_meter(connection, change, at)
        case ProductChange():
            await _write_product(connection, change, at)
        case ProductPriceChange():
            await _write_price(connection, change, at)


def overrides(account_id: UUID | None) -> Select[Any]:
    """Select the overrides of one account or of all; the caller adds order and limit."""
    query = select(price_overrides)
    return query if account_id is None else query.where(price_overrides.c.account_id == account_id)


async def put_override(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    currency: str,
    terms: PriceTerms | None,
    at: datetime,
) -> tuple[Override | None, bool]:
    """Agree a price with an account from `at` on; None ends the agreement. Return the agreement,
    and whether that changes anything.

    Expects the account's lock. Errors: PRODUCT_NOT_FOUND.
    """
    # An agreement can end though its product is off sale.
    find = origin if terms is None else find_product
    if await find(connection, product) is None:
        raise NotFound("PRODUCT_NOT_FOUND")
    which = _agreed(account_id, product, currency)
    current = await _current(connection, which)
    agreed = current if current is not None and current.source == "agreed" else None
    if terms is None:
        if agreed is not None:
            await _end_agreed(connection, agreed, at)
        return None, agreed is not None
    if agreed is not None and agreed.terms == terms:
        return agreed, False
    await _end(connection, price_overrides, which, at)
    values = _columns(terms) | {
        "id": ids.new(), "account_id": account_id, "product": product, "currency": currency,
        "effective_from": at,
    }  # fmt: skip
    if current is not None:
        offered = current.terms if current.source == "service" else current.offered
        values |= {
            "offered": offered and offered.model_dump(mode="json"),
            "checked_at": current.checked_at,
        }
    return show_override(await row_writes.add(connection, price_overrides, values)), True


async def _end_agreed(connection: AsyncConnection, agreed: Override, at: datetime) -> None:
    """End an agreement; what the product service offers meanwhile applies from then on."""
    which = (agreed.account_id, agreed.product, agreed.currency)
    await _end(connection, price_overrides, _agreed(*which), at)
    if agreed.offered is not None:
        await put_provided(connection, *which, agreed.offered, at, agreed.checked_at)


async def sell(
    connection: AsyncConnection, key: str, name: str, meter: str, service: str, at: datetime
) -> None:
    """Add or update a product of the product service, counted like others of its service.

    One of the catalog stays as operators made it, also off sale.
    """
    terms = {"name": name, "meter": meter, "service_type": service, "is_active": True,
             "source": "service"}  # fmt: skip
    await connection.execute(
        insert(products)
        .values(key=key, created_at=at, **terms)
        .on_conflict_do_update(
            index_elements=["key"], set_=terms, where=products.c.source == "service"
        )
    )


async def open_overrides(
    connection: AsyncConnection, account_id: UUID, product: str
) -> list[Override]:
    """Return an account's current overrides of a product, one per currency."""
    query = overrides(account_id).where(
        price_overrides.c.product == product, price_overrides.c.effective_to.is_(None)
    )
    return [show_override(row) for row in (await connection.execute(query)).mappings()]


async def put_provided(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    currency: str,
    terms: PriceTerms,
    at: datetime,
    checked_at: datetime | None,
) -> None:
    """Store the product service's price for an account from `at` on, or from the end of an
    agreement on.

    The first price also applies to earlier use. Expects the account's lock.
    """
    which = _agreed(account_id, product, currency)
    current = await _current(connection, which)
    if current is not None and (current.source == "agreed" or current.terms == terms):
        heard: dict[str, Any] = {"checked_at": checked_at}
        if current.source == "agreed":
            heard["offered"] = terms.model_dump(mode="json")
        same = price_overrides.c.id == current.id
        await connection.execute(update(price_overrides).where(same).values(heard))
        return
    provided = which & (price_overrides.c.source == "service")
    known = await connection.scalar(select(price_overrides.c.id).where(provided).limit(1))
    await _end(connection, price_overrides, which, at)
    values = _columns(terms) | {
        "id": ids.new(), "account_id": account_id, "product": product, "currency": currency,
        # The first price also applies to use from before it was written.
        "effective_from": EPOCH if known is None else at, "source": "service",
        "checked_at": checked_at,
    }  # fmt: skip
    await row_writes.add(connection, price_overrides, values)


async def end_provided(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    at: datetime,
    currency: str | None = None,
) -> None:
    """End the product service's prices for this account, in one currency or in all.

    An agreement goes on; nothing applies at its end.
    """
    which = _agreed(account_id, product, currency)
    await _end(connection, price_overrides, which & (price_overrides.c.source == "service"), at)
    agreed = which & price_overrides.c.effective_to.is_(None)
    await connection.execute(update(price_overrides).where(agreed).values(offered=None))


async def _write_meter(connection: AsyncConnection, change: MeterChange, at: datetime) -> None:
    if change.new is None:
        await connection.execute(
            update(meters).where(meters.c.key == change.key).values(is_active=False)
        )
        return
    new = change.new
    terms = new.model_dump(mode="json", exclude={"grains"})
    terms |= {"hourly": new.hourly, "max_per_use": new.max_per_use}
    since = case((meters.c.hourly, meters.c.hourly_since), else_=at)
    await connection.execute(
        insert(meters)
        .values(key=change.key, **terms)
        .on_conflict_do_update(index_elements=["key"], set_=terms | {"hourly_since": since})
    )


async def _write_product(connection: AsyncConnection, change: ProductChange, at: datetime) -> None:
    if change.new is None:
        await connection.execute(
            update(products).where(products.c.key == change.key).values(is_active=False)
        )
        return
    terms = change.new.model_dump(mode="json", exclude={"prices"}) | {"source": "catalog"}
    await connection.execute(
        insert(products)
        .values(key=change.key, created_at=at, **terms)
        .on_conflict_do_update(index_elements=["key"], set_=terms)
    )


async def _write_price(
    connection: AsyncConnection, change: ProductPriceChange, at: datetime
) -> None:
    """End the current version, and begin the next one at the same instant."""
    which = and_(
        product_prices.c.product == change.key, product_prices.c.currency == change.currency
    )
    known = await connection.scalar(select(product_prices.c.id).where(which).limit(1))
    await _end(connection, product_prices, which, at)
    if change.new is None:
        return
    await connection.execute(
        insert(product_prices).values(
            **_columns(change.new),
            id=ids.new(),
            product=change.key,
            currency=change.currency,
            # The first price also applies to use from before it was written.
            effective_from=EPOCH if known is None else at,
        )
    )


async def _end(connection: AsyncConnection, table: Table, which: Any, at: datetime) -> None:
    # A version that was never in force leaves nothing to keep.
    open_ = and_(which, table.c.effective_to.is_(None))
    await connection.execute(table.delete().where(open_, table.c.effective_from >= at))
    await connection.execute(update(table).where(open_).values(effective_to=at))


def _agreed(account_id: UUID, product: str, currency: str | None) -> ColumnElement[bool]:
    """Match an account's overrides of a product, in one currency or in all."""
    price = price_overrides.c
    whose = and_(price.account_id == account_id, price.product == product)
    return whose if currency is None else and_(whose, price.currency == currency)


async def _current(connection: AsyncConnection, which: ColumnElement[bool]) -> Override | None:
    """Return the open one of an account's overrides of a product in a currency."""
    query = select(price_overrides).where(which, price_overrides.c.effective_to.is_(None))
    row = await prepared.find(connection, query)
    return show_override(row) if row else None


def _in_force(table: Table, product: str, at: datetime) -> Select[Any]:
    price = table.c
    return (
        select(table)
        .where(
            price.product == product,
            price.effective_from <= at,
            or_(price.effective_to.is_(None), price.effective_to > at),
        )
        .limit(1)
    )


def _columns(terms: PriceTerms) -> dict[str, Any]:
    shown = terms.model_dump(mode="json", include={"tiers", "percentage"}, exclude_none=True)
    return terms.model_dump(exclude={"percentage"}) | shown


def show_override(row: Fields) -> Override:
    """Return a row of `price_overrides` as a price of an account."""
    own = {name: row[name] for name in ("account_id", "source", "checked_at")}
    offered = row["offered"] and PriceTerms.model_validate(row["offered"])
    return Override(**show_price(row).model_dump(), **own, offered=offered)


def show_product(row: Fields) -> Product:
    """Return a row of `products` as a product."""
    return Product.model_validate({name: row[name] for name in Product.model_fields})


def show_price(row: Fields) -> ProductPrice:
    """Return a row of `product_prices` or `price_overrides` as a price."""
    terms = PriceTerms.model_validate({name: row[name] for name in PriceTerms.model_fields})
    fields = {name: row[name] for name in ProductPrice.model_fields if name != "terms"}
    return ProductPrice(**fields, terms=terms)
