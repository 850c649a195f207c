"""A card as the provider has it: renewed, gone, or added in its portal [K10]."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.payment_methods import service
from billing.money.payment_methods.rules import CardDetails
from billing.money.payment_methods.tables import payment_methods


async def follow(
    connection: AsyncConnection,
    account_id: UUID,
    reference: str,
    card: CardDetails | None,
    at: datetime,
) -> list[Matter]:
    """Bring the account's method with this id up to the provider's word; None: it has none.

    A card that is not known is added, and is the default only where there is none. Returns the
    woken matters: what they charge, or tell of its expiry, is another card's now.
    """
    await credits.lock(connection, account_id)
    method = await service.ever_known(connection, reference)
    if method is None:
        return await _take_in(connection, account_id, card, at) if card is not None else []
    if method.status != "active":
        return []
    if card is None:
        await service.detached(connection, method.id, at)
    elif await service.refresh(connection, method, card, at) == method:
        return []
    return await matters.wake_open(connection, account_id, (SUBSCRIPTION,), at)


async def _take_in(
    connection: AsyncConnection, account_id: UUID, card: CardDetails, at: datetime
) -> list[Matter]:
    """A new one, or a known card that was given again: its newest id at the provider counts.

    Who replaces a card there adds it anew, and then removes the one of before.
    """
    of_card = service.listing(account_id).where(payment_methods.c.fingerprint == card.fingerprint)
    best = of_card.order_by(payment_methods.c.is_default.desc(), payment_methods.c.id.desc())
    same = await prepared.find(connection, best.limit(1)) if card.fingerprint else None
    if same is None:
        _, woken = await service.save(connection, account_id, card, at, make_default=False)
        return woken
    await service.refresh(connection, service.show(same), card, at)
    return await matters.wake_open(connection, account_id, (SUBSCRIPTION,), at)
