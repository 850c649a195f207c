"""Quotes of a use: its cost by its product, its operation or its plan; nothing is written.

Each verb runs in the caller's transaction.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products import store as products
from billing.catalog.products.schemas import Product, ProductPrice
from billing.catalog.rating import rules as rating
from billing.catalog.rating.schemas import (
    CREDIT,
    IncludedUnits,
    PriceTerms,
    Rating,
)
from billing.core.errors import NotFound
from billing.core.money import ZERO
from billing.metering.usage import rules, store
from billing.metering.usage.schemas import BillingRecord, Counter, Period

_CLAIMED: Final = text(
    "SELECT m.meter, quota_reserved(:account_id, m.meter, :at, '{}') AS amount"
    " FROM unnest(CAST(:meters AS text[])) AS m(meter)"
)


class Quotes(NamedTuple):
    """A use rated in each currency that its product has a price in, and by the plan."""

    prices: dict[str, Rating]
    plan: Rating | None = None
    """Set if the plan limits the meter and goes on beyond what it includes."""
    currency: str | None = None
    """The currency of the plan's price."""
    is_entitled: bool = True
    """False while no plan gives the account anything: then none pays, not even what is free."""


async def quote(
    connection: AsyncConnection, account_id: UUID, product_key: str, amount: Decimal, at: datetime
) -> Rating:
    """Rate a use of a product in credits at an instant; write nothing.

    Errors: PRODUCT_PRICING_NOT_FOUND [F11].
    """
    found = await quotes(connection, account_id, product_key, amount, (CREDIT,), at)
    if not found.prices:
        raise NotFound("PRODUCT_PRICING_NOT_FOUND")
    return found.prices[CREDIT]


async def quotes(
    connection: AsyncConnection,
    account_id: UUID,
    product_key: str,
    amount: Decimal,
    currencies: Collection[str],
    at: datetime,
) -> Quotes:
    """As `quote`, in each of these currencies that has a price, and by the plan."""
    product = await products.find_product(connection, product_key)
    priced = [
        price
        for currency in currencies
        if (price := await products.price_at(connection, account_id, product_key, currency, at))
    ]
    if product is None or not priced:
        return Quotes({})
    _, counts = await store.meter_of(connection, product_key, None, None, amount)
    period = await store.open_period(connection, account_id, at)
    return await _rate(connection, account_id, product, counts, amount, priced, period, at)


async def operation_total(
    connection: AsyncConnection,
    account_id: UUID,
    operation: str | None,
    meter: str,
    units: Decimal,
    at: datetime,
) -> Decimal:
    """Return the cost in credits of `units` more of a meter by an operation without a product,
    beyond what a plan includes; zero for one that has no price.
    """
    unit_price = await store.operation_cost(connection, operation, at)
    if unit_price is None:
        return ZERO
    rated = await _rate_open(connection, account_id, meter, units, unit_price, at)
    return rated.total


async def demand_included(
    connection: AsyncConnection, account_id: UUID, meter: str, units: Decimal, at: datetime
) -> None:
    """Refuse `units` of a meter without prices that credits are to pay, as recording does, if a
    plan does not include all of them. Errors: PRODUCT_PRICING_NOT_FOUND.
    """
    rated = await _rate_open(connection, account_id, meter, units, ZERO, at)
    if rated.charged:
        raise NotFound("PRODUCT_PRICING_NOT_FOUND")


async def claimed(
    connection: AsyncConnection, account_id: UUID, period: Period, at: datetime
) -> dict[str, Decimal]:
    """Return the claimed amounts without a record, of each meter that the plan blocks."""
    blocking = [meter for meter, limit in period.limits.items() if limit.is_hard]
    if not blocking:
        return {}
    values = {"account_id": account_id, "meters": blocking, "at": at}
    rows = await connection.execute(_CLAIMED, values)
    return {row.meter: row.amount for row in rows}


async def price_in_money(
    connection: AsyncConnection, record: BillingRecord, currency: str
) -> Rating | None:
    """Return the cost of a use's charged units in a currency, at the price of its time.

    None without a plain price per unit: the tiers count uses that were paid in another way.
    """
    price = await products.price_at(
        connection, record.account_id, record.product_id or "", currency, record.occurred_at
    )
    if price is None or not price.terms.is_plain:
        return None
    return rating.rate(record.charged_units, price.terms, currency=currency)


async def _rate_open(
    connection: AsyncConnection,
    account_id: UUID,
    meter: str,
    units: Decimal,
    unit_price: Decimal,
    at: datetime,
) -> Rating:
    """Rate units of a meter after those of the open cycle, in credits."""
    period = await store.open_period(connection, account_id, at)
    allowance = None
    if period is not None:
        counters = await store.cycle_counters(connection, account_id, period.start_at)
        allowance = await _allowance(connection, account_id, meter, period, counters.get(meter), at)
    return rating.rate(units, PriceTerms(unit_price=unit_price), allowance=allowance)


async def _rate(
    connection: AsyncConnection,
    account_id: UUID,
    product: Product,
    counts: str,
    amount: Decimal,
    priced: Sequence[ProductPrice],
    period: Period | None,
    at: datetime,
) -> Quotes:
    """Rate after the open cycle's use; for a level, only the rise above its maximum counts."""
    if period is None:
        amount = rules.rise(amount, counts, None)
        plain = {
            price.currency: rating.rate(amount, price.terms, currency=price.currency, uses=0)
            for price in priced
        }
        return Quotes(plain)
    counters = await store.cycle_counters(connection, account_id, period.start_at)
    counter = counters.get(product.meter)
    amount = rules.rise(amount, counts, counter)
    limit = period.limits.get(product.meter)
    allowance = await _allowance(connection, account_id, product.meter, period, counter, at)
    free = max(price.terms.free_transactions for price in priced)
    seen = await store.priced_units(
        connection, account_id, product.key, product.meter, period, free
    )
    prices = {
        price.currency: rating.rate(
            amount, price.terms, before=seen.units, allowance=allowance, currency=price.currency,
            paid=seen.credits if price.currency == CREDIT else seen.money, uses=seen.uses,
        )
        for price in priced
    }  # fmt: skip
    plan = None
    if limit is not None and limit.then in ("overage", "notify"):
        plan = rules.by_plan(limit, counter, amount, period.currency or "")
    return Quotes(prices, plan, period.currency, period.no_entitlement is None)


async def _allowance(
    connection: AsyncConnection,
    account_id: UUID,
    meter: str,
    period: Period,
    counter: Counter | None,
    at: datetime,
) -> IncludedUnits | None:
    """Return what the plan includes of a meter, with what is used or claimed of it."""
    limit = period.limits.get(meter)
    if limit is None:
        return None
    aside = await claimed(connection, account_id, period, at) if limit.is_hard else {}
    used = limit.used(counter) + aside.get(meter, ZERO)
    return IncludedUnits(included=limit.included, used=used)
