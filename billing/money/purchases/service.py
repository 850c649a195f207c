"""Start a purchase: its rows, its draft invoice, its payment and its matter in one transaction."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as catalog
from billing.catalog.plans.schemas import Pack, Price
from billing.core import context, ids
from billing.core.errors import Conflict, Invalid
from billing.core.settings import Settings
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.agenda import head
from billing.matters.effects import Bear, Rows, Work
from billing.matters.kinds import PURCHASE
from billing.matters.schemas import Matter
from billing.money.payment_methods import service as methods
from billing.money.purchases import transitions
from billing.money.purchases.rules import Flow, agenda
from billing.money.purchases.schemas import NewPurchase
from billing.money.purchases.transitions import PurchaseFacts
from billing.money.purchases.views import view
from billing.platform.accounts.schemas import Account
from billing.platform.decisions import writer
from billing.platform.decisions.service import now_facts

DEFAULT_CURRENCY: Final = "USD"


async def start(
    connection: AsyncConnection,
    account: Account,
    wanted: NewPurchase,
    *,
    purchase_id: UUID,
    settings: Settings,
    at: datetime,
) -> Matter:
    """Write a pending purchase with all it needs; its workflow is started after the commit.

    Errors: INVALID_PACK [E6]; CURRENCY_MISMATCH; PAYMENT_METHOD_NOT_FOUND; RETURN_URL_REQUIRED.
    """
    pack = await catalog.find_pack(connection, wanted.pack)
    if pack is None or not pack.is_active:
        raise Invalid("INVALID_PACK", f"no credit pack {wanted.pack!r}", status=400)
    balance = await credits.lock(connection, account.id)
    if wanted.flow == "saved_card" or wanted.method_id is not None:
        # Under the lock: a method that is removed meanwhile is not found any more.
        wanted = await _with_method(connection, account, wanted)
    currency = wanted.currency or balance.currency or DEFAULT_CURRENCY
    price = await catalog.pack_price(connection, pack.key, currency)
    if price is None:
        raise Conflict("CURRENCY_MISMATCH", f"pack {pack.key} has no price in {currency}")
    if balance.currency is None:
        await credits.fix_currency(connection, account.id, currency)
    elif balance.currency != currency:
        raise Conflict("CURRENCY_MISMATCH", f"the account pays in {balance.currency}")
    row = _row(account, wanted, purchase_id, pack, price, settings, at)
    return await _write(connection, account, row, at)


async def _with_method(
    connection: AsyncConnection, account: Account, wanted: NewPurchase
) -> NewPurchase:
    """The named card, or the default one."""
    if wanted.method_id is not None:
        await methods.get(connection, wanted.method_id)
        return wanted
    default = await methods.default(connection, account.id)
    if default is None:
        raise Conflict("PAYMENT_METHOD_REQUIRED", "the account has no saved card")
    return wanted.model_copy(update={"method_id": default.id})


async def _write(
    connection: AsyncConnection, account: Account, row: dict[str, Any], at: datetime
) -> Matter:
    """The purchase's rows, and its matter with the first step."""
    facts = PurchaseFacts(
        **now_facts(at), new_id=ids.new, purchase_id=row["id"], clock_at=account.clock_at
    )
    work = Work(Rows(), facts)
    transitions.start(work, row, account.issuer_id)
    await writer.write(connection, work.effects, at, verbs={})
    first = head(agenda(view(work.rows, facts)))
    return await matters.birth(connection, Bear(PURCHASE, account.id, row["id"], first), at)


def _row(
    account: Account,
    wanted: NewPurchase,
    purchase_id: UUID,
    pack: Pack,
    price: Price,
    settings: Settings,
    at: datetime,
) -> dict[str, Any]:
    return {
        "id": purchase_id,
        "account_id": account.id,
        "pack": pack.key,
        "pack_name": pack.name,
        "credits": pack.credits,
        "amount_minor": price.amount_minor,
        "currency": price.currency,
        "platform": "manual" if wanted.flow == "manual" else wanted.platform,
        "flow": wanted.flow,
        "payment_method_id": wanted.method_id,
        "status": "pending",
        "return_url": wanted.return_url,
        "top_up_id": wanted.top_up_id,
        "correlation_id": context.correlation_id.get(),
        "created_by": context.actor.get(),
        "created_at": at,
        "expires_at": at + _lifetime(wanted.flow, settings),
    }


def _lifetime(flow: Flow, settings: Settings) -> timedelta:
    if flow == "manual":
        return timedelta(days=settings.manual_expiry_days)
    return timedelta(hours=settings.purchase_expiry_hours)
