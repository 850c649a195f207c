"""Credit notes for tax charged to a business before its VAT id was proven [L5]."""

from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes.rules import why_none
from billing.matters.schemas import Matter
from billing.money.invoice_requests import corrections
from billing.money.invoice_requests.asking import ask
from billing.money.invoices import store as invoice_store
from billing.money.taxation import store
from billing.money.taxation.reading import taxation

SUFFIX: Final = "reverse-charge"
REASON: Final = "reverse charge: the VAT id is proven"


async def owed_back(connection: AsyncConnection, account_id: UUID) -> list[UUID]:
    """Return the invoices to correct: those of sellers from whom the account buys without tax."""
    known = await taxation(connection, account_id)
    found = await store.charged_since_given(connection, account_id)
    sold = {one: known.model_copy(update={"seller": seller}) for one, seller in found.items()}
    return [one for one, of_then in sold.items() if why_none(of_then) == "reverse_charge"]


async def give_back(connection: AsyncConnection, invoice_id: UUID) -> Matter:
    """Write the credit note of one invoice; none if earlier refunds and notes left no tax of it.

    Errors: INVOICE_STATE.
    """
    invoice = await invoice_store.get(connection, invoice_id)
    known = await taxation(connection, invoice.account_id)
    verb = partial(
        corrections.credit_tax, country=known.country or "", reason=REASON, suffix=SUFFIX
    )
    beside = await invoice_store.beside(connection, invoice)
    return await ask(connection, invoice, verb, beside=beside)
