"""A card as the provider has it: renewed, gone, or added in its portal [K10]."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.ledger.credits import service as credits
from billing.matters.schemas import Matter
from billing.money.payment_methods import service
from billing.money.payment_methods.rules import CardDetails


async def follow(
    connection: AsyncConnection,
    account_id: UUID,
    reference: str,
    card: CardDetails | None,
    at: datetime,
) -> list[Matter]:
    """Bring the account's method with this id up to the provider's word; None: it has none.

    One that is not known is saved. Returns the woken matters: what they charge, or tell of its
    expiry, is another card's now.
    """
    await credits.lock(connection, account_id)
    method = await service.ever_known(connection, reference)
    if method is not None and method.status != "active":
        return []
    if card is not None:
        _, woken = await service.save(connection, account_id, card, at, make_default=False)
        return woken
    return await service.gone(connection, method, at) if method is not None else []
