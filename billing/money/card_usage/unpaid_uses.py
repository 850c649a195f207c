"""Card charges of unpaid uses: those put off, and those that a card failed to pay before."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.rating.schemas import BY_CARD, CREDIT
from billing.core import keys
from billing.ledger.credits import service as credits
from billing.ledger.credits import store as balances
from billing.matters import commands
from billing.matters import store as matters
from billing.matters.kinds import CHARGE
from billing.matters.schemas import Matter
from billing.metering.usage import quoting, unpaid
from billing.metering.usage import service as usage
from billing.metering.usage import store as records
from billing.metering.usage.schemas import BillingRecord
from billing.money.account_agenda.rules import BETWEEN_CARDS
from billing.money.card_usage.obstacles import not_offered
from billing.money.card_usage.service import PriceInMoney, begin, offered
from billing.money.payment_methods import store as method_store


def is_asked(record: BillingRecord, method: str | None) -> bool:
    """True if a request to pay this use means to charge a card now."""
    return (method or record.billing_method) == BY_CARD and record.is_owed


async def again(
    connection: AsyncConnection,
    account_id: UUID,
    record_id: UUID,
    method: str | None,
    at: datetime,
    *,
    suffix: str,
) -> Matter | None:
    """Charge the card for a use that it failed to pay, or that was put off [F13].

    Charges once per `suffix`, whatever the result. Returns None for any other use or method.
    Errors: BILLING_RECORD_NOT_FOUND, PAYMENT_CHARGE_NOT_OFFERED.
    """
    await credits.lock(connection, account_id)
    order, workflow_id = keys.charge_request(record_id, suffix), CHARGE.workflow_id(record_id)
    if await commands.result_of(connection, order) is not None:
        return await matters.find(connection, workflow_id)
    found = await records.get_record(connection, account_id, record_id, lock=True)
    if not is_asked(found, method):
        return None
    price = await price_of(connection, found)
    if price is None:
        raise not_offered("no_price")
    matter = await begin(connection, await _waiting(connection, found, at), price)
    if matter is not None:
        await commands.note(
            connection, key=order, name="pay", workflow_id=workflow_id, account_id=account_id,
            at=at, result="asked",
        )  # fmt: skip
    return matter


async def collect(
    connection: AsyncConnection, account_id: UUID, record_id: UUID, at: datetime
) -> tuple[Matter | None, str]:
    """Charge the default card for an unpaid use, if allowed; return a word for the result.

    The payer is not present, so the bank cannot ask for 3-D Secure. Expects the account's lock. The
    matter must be notified after the commit.
    """
    if await method_store.default(connection, account_id) is None:
        await unpaid.no_card(connection, account_id, at)
        return None, "there is no card"
    found = await records.get_record(connection, account_id, record_id, lock=True)
    if found.is_charging:
        await unpaid.wait(connection, record_id, at + BETWEEN_CARDS)
        return None, "a card is being charged for it"
    price = await price_of(connection, found) if found.is_owed else None
    charge = price and await offered(
        connection, account_id, price.total, price.currency, found.period_start
    )
    await unpaid.tried(connection, record_id, at, asked=charge is not None)
    if price is None or charge is None:
        return None, "no card can be charged for it"
    waiting = await _waiting(connection, found, at)
    matter = await begin(connection, waiting, price, unattended=True)
    return matter, "its charge has begun"


async def price_of(connection: AsyncConnection, record: BillingRecord) -> PriceInMoney | None:
    """Return the price of a use in money, at its time; None if its product has none.

    Units that the plan included stay free.
    """
    if record.currency != CREDIT:
        return PriceInMoney(record.total_amount, record.unit_price, record.currency)
    if record.product_id is None:
        return None
    currency = await balances.currency(connection, record.account_id) or DEFAULT_CURRENCY
    found = await quoting.price_in_money(connection, record, currency)
    return PriceInMoney(found.total, found.unit_price, currency) if found else None


async def _waiting(
    connection: AsyncConnection, record: BillingRecord, at: datetime
) -> BillingRecord:
    return await usage.write(connection, record, BY_CARD, "pending", None, at)
