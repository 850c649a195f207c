"""Cards changed at the provider: renewed, removed, or added or chosen in its portal [K10]."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.ledger.credits import service as credits
from billing.matters.schemas import Matter
from billing.money.payment_methods import service, store
from billing.money.payment_methods.rules import CardDetails


async def follow(
    connection: AsyncConnection,
    account_id: UUID,
    reference: str,
    card: CardDetails | None,
    at: datetime,
    *,
    chosen_at: datetime | None = None,
    may_be_links: service.Ask,
) -> list[Matter]:
    """Sync the account's method with the provider; None: it no longer exists there.

    An unknown card is saved. One that was made the default there at `chosen_at`, of real time,
    becomes it here, unless one was chosen here since: its news may come late. Under the account's
    lock `may_be_links` returns whether it may be that of a payer by link, of whose payment the
    provider will tell next. Returns the woken matters: the card that they charge, or whose expiry
    they announce, may be another now.
    """
    await credits.lock(connection, account_id)
    method = await store.ever_known(connection, reference)
    if method is not None and method.status != "active":
        return []
    if card is not None:
        by_link = method is None and await may_be_links(connection, account_id)
        is_last = chosen_at is not None and not await store.is_chosen_here_since(
            connection, account_id, chosen_at
        )
        _, woken = await service.save(
            connection, account_id, card, at, make_default=is_last, by_link=by_link, at_stripe=True
        )
        return woken
    return await service.gone(connection, method, at) if method is not None else []
