"""Prices of a product service, stored as versions so that the database can rate uses.

They are stored per account, as agreed prices are; an agreed price overrides them.
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
    """Store a product's price for an account from now on; a changed price begins a new version.

    `service` is used for a product that is new here if the product service gives no service_type.
    Errors: METER_NOT_FOUND if neither gives one, or no meter counts that service.
    """
    await credits.lock(connection, account_id)
    known = await store.origin(connection, product)  # one off sale stays so
    if known is None or (
        known["source"] == "service" and priced.service_type not in (None, known["service_type"])
    ):
        used_by = priced.service_type or service
        if used_by is None:
            raise NotFound("METER_NOT_FOUND", "name the service_type that uses this product")
        meter, _ = await usage_store.meter_of(connection, None, used_by, None)
        await store.sell(connection, product, priced.name, meter, used_by, clock.real_now())
    at = await clock.now(connection, account_id)
    for price in await store.open_overrides(connection, account_id, product):
        if price.currency not in priced.prices:
            await store.end_provided(connection, account_id, product, at, price.currency)
    for currency, terms in priced.prices.items():
        await store.put_provided(
            connection, account_id, product, currency, terms, at, clock.real_now()
        )


async def withdraw(connection: AsyncConnection, account_id: UUID, product: str) -> bool:
    """End the product service's prices for this account; True if an agreed price remains."""
    if not await store.open_overrides(connection, account_id, product):
        return False  # without the lock: invented products would hold up the account's own work
    at = await credits.now_locked(connection, account_id)
    await store.end_provided(connection, account_id, product, at)
    return bool(await store.open_overrides(connection, account_id, product))


async def is_known(
    connection: AsyncConnection, account_id: UUID, product: str, stale: timedelta
) -> bool:
    """True if a price is agreed, or was received within the last `stale`."""
    since = clock.real_now() - stale
    return any(
        price.source == "agreed" or (price.checked_at is not None and price.checked_at >= since)
        for price in await store.open_overrides(connection, account_id, product)
    )
