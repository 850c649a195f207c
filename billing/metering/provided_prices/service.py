"""Prices of a product service kept as versions, so that uses are rated in the database as ever.

They stand beside agreed prices, per account; a price that was agreed here goes before them.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products import store
from billing.catalog.products.provider import Priced
from billing.core import clock
from billing.core.errors import NotFound
from billing.ledger.credits import service as credits
from billing.metering.usage import store as usage_store


async def keep(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    priced: Priced,
    service: str | None,
) -> None:
    """Note what a product costs an account from now on; what changed begins the next version.

    `service` is what the caller says the product is used by, where the product service does not.
    Errors: METER_NOT_FOUND where neither says it, or nothing counts that service.
    """
    await credits.lock(connection, account_id)
    if await store.find_product(connection, product) is None:
        used_by = priced.service_type or service
        if used_by is None:
            raise NotFound("METER_NOT_FOUND", "name the service_type that uses this product")
        meter, _ = await usage_store.meter_of(connection, None, used_by, None)
        await store.sell(connection, product, priced.name, meter, used_by, clock.real_now())
    at = await clock.now(connection, account_id)
    for price in await store.open_overrides(connection, account_id, product):
        if price.source == "service" and price.currency not in priced.prices:
            await store.end_provided(connection, account_id, product, at, price.currency)
    for currency, terms in priced.prices.items():
        await store.put_provided(
            connection, account_id, product, currency, terms, at, clock.real_now()
        )


async def withdraw(connection: AsyncConnection, account_id: UUID, product: str) -> bool:
    """The product service does not sell it to this account; True where a price was agreed here."""
    await credits.lock(connection, account_id)
    at = await clock.now(connection, account_id)
    await store.end_provided(connection, account_id, product, at)
    return bool(await store.open_overrides(connection, account_id, product))


async def is_known(
    connection: AsyncConnection, account_id: UUID, product: str, stale: timedelta
) -> bool:
    """True if a price is agreed, or was received not longer than `stale` ago."""
    since = clock.real_now() - stale
    return any(
        price.source == "agreed" or (price.checked_at is not None and price.checked_at >= since)
        for price in await store.open_overrides(connection, account_id, product)
    )
