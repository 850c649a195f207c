"""Credit notes for the tax that a business was charged while its VAT id was not proven yet [L5]."""

from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes.rules import rates
from billing.catalog.taxes.schemas import STANDARD
from billing.core.errors import Conflict
from billing.matters.schemas import Matter
from billing.money.invoice_requests import operating
from billing.money.taxation import store
from billing.money.taxation.reading import taxation
from billing.money.taxation.schemas import ChargedTax

SUFFIX: Final = "reverse-charge"
REASON: Final = "reverse charge: the VAT id is proven"


async def owed_back(connection: AsyncConnection, account_id: UUID) -> list[ChargedTax]:
    """The invoices to correct; none where the account does not account for the tax itself."""
    known = await taxation(connection, account_id)
    reasons = {one.reason for one in rates(known, STANDARD, "")}
    if reasons != {"reverse_charge"}:
        return []
    return await store.charged_before_proof(connection, account_id)


async def give_back(connection: AsyncConnection, charged: ChargedTax) -> Matter | None:
    """The credit note of one invoice; None where nothing of it is left to take back."""
    try:
        return await operating.credit(
            connection,
            charged.invoice_id,
            amount_minor=charged.tax_minor,
            lines=(),
            reason=REASON,
            to="debt",
            suffix=SUFFIX,
        )
    except Conflict:
        return None
