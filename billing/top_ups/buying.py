"""Buying what is wanted: a purchase with the saved card, born in the transaction that decides it.

Whatever stands in its way is a failure of this top-up, told to the account, and no error.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts import store as accounts
from billing.accounts.schemas import Account
from billing.catalog import store as catalog
from billing.core import ids, periods
from billing.core.errors import Conflict, Invalid, NotFound
from billing.core.matters import Matter
from billing.core.settings import Settings
from billing.credits import service as credits
from billing.purchases import service as purchases
from billing.purchases import store as purchase_rows
from billing.purchases.schemas import NewPurchase
from billing.top_ups import rules, service, store
from billing.top_ups.schemas import TopUp, TopUpSettings


async def buy(
    connection: AsyncConnection, account_id: UUID, settings: Settings, at: datetime
) -> tuple[Matter | None, str]:
    """Start the purchase that the account wants, or settle why not.

    Answers its matter, to be told after the commit, and what was done in a word.
    """
    balance = await credits.lock(connection, account_id)
    top_up = await store.undecided(connection, account_id)
    if top_up is None or top_up.status != "wanted":
        return None, "nothing is wanted"
    kept = await store.settings(connection, account_id)
    if kept is None or not kept.active:
        await service.drop(connection, top_up, "top-ups were switched off", at)
        return None, "dropped"
    if balance.available >= kept.threshold:
        await service.drop(connection, top_up, "enough credits came in meanwhile", at)
        return None, "dropped"
    currency = balance.currency or purchases.DEFAULT_CURRENCY
    price = await catalog.pack_price(connection, kept.pack, currency)
    account = await accounts.get(connection, account_id)
    if account is None:
        raise NotFound("NOT_FOUND", "no such account")
    start, following = periods.month_of(at, account.zone)
    spent = await store.spent(connection, account_id, start)
    if price is not None and not rules.fits(spent, price.amount_minor, kept.monthly_cap_minor):
        await service.capped(
            connection, top_up, following, at,
            spent_cents=spent, cap_cents=kept.monthly_cap_minor,
        )  # fmt: skip
        return None, "capped"
    try:
        return await _start(connection, account, top_up, kept, settings, at), "buying"
    except (Conflict, Invalid, NotFound) as refusal:
        await service.failed(connection, top_up.id, refusal.code, at)
        return None, "failed"


async def _start(
    connection: AsyncConnection,
    account: Account,
    top_up: TopUp,
    kept: TopUpSettings,
    settings: Settings,
    at: datetime,
) -> Matter:
    """The purchase, its matter, and the top-up that waits for it."""
    wanted = NewPurchase(
        pack=kept.pack,
        road="saved_card",
        method_id=kept.payment_method_id,
        top_up_id=top_up.id,
    )
    purchase_id = ids.new()
    matter = await purchases.start(
        connection, account, wanted, purchase_id=purchase_id, settings=settings, at=at
    )
    bought = await purchase_rows.get(connection, purchase_id)
    await store.change(
        connection,
        top_up.id,
        status="buying",
        purchase_id=purchase_id,
        pack=bought.pack,
        amount_minor=bought.amount_minor,
        currency=bought.currency,
    )
    return matter
