"""A card pays a use that stayed unpaid: one put off, or one that a card failed to pay before."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.rating.schemas import CREDIT
from billing.core.errors import Conflict
from billing.ledger.credits import service as credits
from billing.ledger.credits import store as balances
from billing.matters.schemas import Matter
from billing.metering.usage import service as usage
from billing.metering.usage import store as records
from billing.metering.usage import unpaid
from billing.metering.usage.schemas import BY_CARD, BillingRecord
from billing.money.card_usage.service import NOT_OFFERED, Price, begin, offered
from billing.money.payment_methods import service as methods


async def again(
    connection: AsyncConnection, account_id: UUID, record_id: UUID, method: str | None, at: datetime
) -> Matter | None:
    """Have the card charged for a use that it failed to pay, or that was put off [F13].

    None for any other use, and where the method is another one.
    Errors: BILLING_RECORD_NOT_FOUND, PAYMENT_CHARGE_NOT_OFFERED.
    """
    await credits.lock(connection, account_id)
    found = await records.get_record(connection, account_id, record_id, lock=True)
    if (method or found.billing_method) != BY_CARD or not found.is_owed:
        return None
    price = await price_of(connection, found)
    if price is None:
        raise Conflict("PAYMENT_CHARGE_NOT_OFFERED", NOT_OFFERED)
    return await begin(connection, await _waiting(connection, found, at), price)


async def collect(
    connection: AsyncConnection, account_id: UUID, record_id: UUID, at: datetime
) -> tuple[Matter | None, str]:
    """Have the default card charged for an unpaid use, if it may be; what was done in a word.

    Nobody has asked for it, so nobody is there whom the bank could ask for 3-D Secure. Expects the
    account's lock. The matter is to be told after the commit.
    """
    if await methods.default(connection, account_id) is None:
        await unpaid.no_card(connection, account_id, at)
        return None, "there is no card"
    found = await records.get_record(connection, account_id, record_id, lock=True)
    price = await price_of(connection, found) if found.is_owed else None
    charge = price and await offered(connection, account_id, price.total, price.currency)
    await unpaid.tried(connection, record_id, at, asked=charge is not None)
    if price is None or charge is None:
        return None, "no card can be charged for it"
    waiting = await _waiting(connection, found, at)
    matter = await begin(connection, waiting, price, unattended=True)
    return matter, "its charge has begun"


async def price_of(connection: AsyncConnection, record: BillingRecord) -> Price | None:
    """The price of a use in money, at its time; None where its product has none in it.

    What the plan included stays free.
    """
    if record.currency != CREDIT:
        return Price(record.total_amount, record.unit_price, record.currency)
    if record.product_id is None:
        return None
    currency = await balances.currency(connection, record.account_id) or DEFAULT_CURRENCY
    found = await usage.price_in_money(connection, record, currency)
    return Price(found.total, found.unit_price, currency) if found else None


async def _waiting(
    connection: AsyncConnection, record: BillingRecord, at: datetime
) -> BillingRecord:
    return await usage.write(connection, record, BY_CARD, "pending", None, at)
