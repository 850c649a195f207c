"""Automatic purchases of top-ups: by saved card, written in the transaction that decides them.

An obstacle is no error: the top-up fails and the account is notified.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as catalog
from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.plans.schemas import OfferedPack
from billing.core import ids, periods
from billing.core.errors import Conflict, Invalid, NotFound, PaymentRequired
from billing.core.settings import Settings
from billing.ledger.credits import service as credits
from billing.matters.schemas import Matter
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Line
from billing.money.invoices.sums import sum_lines
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.rules import can_pay
from billing.money.purchases import service, store
from billing.money.purchases.schemas import NewPurchase
from billing.money.taxation.reading import taxation
from billing.money.top_ups import rules
from billing.money.top_ups import service as top_ups
from billing.money.top_ups import store as top_up_store
from billing.money.top_ups.schemas import TopUp, TopUpSettings
from billing.platform.accounts import store as accounts


async def buy(
    connection: AsyncConnection, account_id: UUID, settings: Settings, at: datetime
) -> tuple[Matter | None, str]:
    """Start the purchase of the account's wanted top-up, or record why not.

    Return its matter, to be notified after the commit, and a word for the result.
    """
    balance = await credits.lock(connection, account_id)
    top_up = await top_up_store.undecided(connection, account_id)
    if top_up is None or top_up.status != "wanted":
        return None, "nothing is wanted"
    kept = await top_up_store.settings(connection, account_id)
    if kept is None or not kept.active:
        await top_ups.drop(connection, top_up, "top-ups were switched off", at)
        return None, "dropped"
    if balance.available >= kept.threshold:
        await top_ups.drop(connection, top_up, "enough credits came in meanwhile", at)
        return None, "dropped"
    currency = balance.currency or DEFAULT_CURRENCY
    offered = await catalog.offered_pack(connection, kept.pack, currency)
    account = await accounts.get(connection, account_id)
    start, following = periods.month_of(at, account.zone)
    spent = await store.spent_on_top_ups(connection, account_id, start)
    total = await _total(connection, account_id, offered, at)
    if not rules.fits(spent, total, kept.monthly_cap_minor):
        await top_ups.capped(
            connection, top_up, following, at,
            asked={"amount_minor": total, "currency": currency},
            spent_cents=spent, cap_cents=kept.monthly_cap_minor,
        )  # fmt: skip
        return None, "capped"
    try:
        card = await _named(connection, kept, currency)
        wanted = NewPurchase(
            pack=kept.pack, flow="saved_card", method_id=card, top_up_id=top_up.id, offered=offered
        )
        return await _start(connection, account_id, top_up, wanted, settings, at), "buying"
    except (Conflict, Invalid, NotFound, PaymentRequired) as refusal:
        why = refusal.fields.get("decline_code", refusal.code)
        await top_ups.failed(connection, top_up.id, why, at)
        return None, "failed"


async def _total(
    connection: AsyncConnection, account_id: UUID, offered: OfferedPack | None, at: datetime
) -> int:
    """Return the total of the pack's invoice with added tax; 0 if the pack is not sold."""
    if offered is None or offered.price is None:
        return 0
    minor = offered.price.amount_minor
    pack = Line(
        kind="pack",
        description=offered.pack.name,
        unit_amount=Decimal(minor),
        amount_minor=minor,
        tax_category=offered.pack.tax_category,
    )
    taxes = (await taxation(connection, account_id)).at(at)
    (summed,) = sum_lines([pack], taxation=taxes, currency=offered.price.currency)
    return summed.total_minor


async def _named(connection: AsyncConnection, kept: TopUpSettings, currency: str) -> UUID | None:
    """Return the card chosen for top-ups if it is usable; None: the default pays."""
    if kept.payment_method_id is None:
        return None
    card = await method_store.find(connection, kept.payment_method_id)
    return card.id if card is not None and can_pay(card, currency) else None


async def _start(
    connection: AsyncConnection,
    account_id: UUID,
    top_up: TopUp,
    wanted: NewPurchase,
    settings: Settings,
    at: datetime,
) -> Matter:
    """Write the purchase with its matter, and the top-up that waits for it."""
    purchase_id = ids.new()
    matter = await service.start(
        connection, account_id, wanted, purchase_id=purchase_id, settings=settings, at=at
    )
    bought = await store.get(connection, purchase_id)
    if bought.status != "completed":
        invoice = await invoice_store.get(connection, bought.invoice_id)
        await top_up_store.change(
            connection,
            top_up.id,
            status="buying",
            purchase_id=purchase_id,
            pack=bought.pack,
            amount_minor=invoice.total_minor,
            currency=bought.currency,
        )
    return matter
