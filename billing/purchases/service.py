"""The verbs of a purchase: start it, fulfil it once, or end it without money.

A purchase, its draft invoice, its payment and its matter are born in one transaction.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts.schemas import Account
from billing.catalog import store as catalog
from billing.catalog.schemas import Pack, Price
from billing.core import context, ids, keys, matters
from billing.core.agenda import head
from billing.core.errors import Conflict, Invalid
from billing.core.money import show_decimal
from billing.core.settings import Settings
from billing.credits import service as credits
from billing.events import service as events
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice, Line, NewInvoice
from billing.payments import methods
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.schemas import Payment
from billing.purchases import store
from billing.purchases.rules import PurchaseState, Road, agenda
from billing.purchases.schemas import NewPurchase, Purchase
from billing.top_ups import service as top_ups

DEFAULT_CURRENCY: Final = "USD"


async def start(
    connection: AsyncConnection,
    account: Account,
    wanted: NewPurchase,
    *,
    purchase_id: UUID,
    settings: Settings,
    at: datetime,
) -> matters.Matter:
    """Write a pending purchase with all it needs; its workflow is started after the commit.

    Errors: INVALID_PACK [E6]; CURRENCY_MISMATCH; PAYMENT_METHOD_NOT_FOUND; RETURN_URL_REQUIRED.
    """
    pack = await catalog.find_pack(connection, wanted.pack)
    if pack is None or not pack.is_active:
        raise Invalid("INVALID_PACK", f"no credit pack {wanted.pack!r}", status=400)
    balance = await credits.lock(connection, account.id)
    if wanted.road == "saved_card":
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
    purchase = await _write(connection, account, row, at)
    return await matters.birth(
        connection,
        kind="purchase",
        account_id=account.id,
        subject_id=purchase.id,
        head=head(agenda(_newborn(purchase))),
        at=at,
        correlation_id=context.correlation_id.get(),
    )


def _newborn(purchase: Purchase) -> PurchaseState:
    """The state of a purchase just written, without reading it back."""
    return PurchaseState(
        status="pending",
        purchase=ids.encode(ids.PURCHASE, purchase.id),
        road=purchase.road,
        payment_status=None if purchase.road == "manual" else "pending",
        opened=False,
        created_at=purchase.created_at,
        expires_at=purchase.expires_at,
        checks=0,
    )


async def fulfil(
    connection: AsyncConnection, purchase_id: UUID, payment: Payment, at: datetime
) -> Purchase:
    """Book the money of `payment`; when the invoice is covered, grant the credits, once [E17].

    Money that came after the purchase had ended is granted all the same, on an invoice anew.
    """
    purchase = await store.get(connection, purchase_id)
    await payments.change(connection, payment.id, settled_at=at)
    await credits.lock(connection, purchase.account_id)
    if purchase.status in ("completed", "refunded"):
        invoice = await invoices.get(connection, purchase.invoice_id)
        await invoicing.keep_money(connection, invoice, payment.id, payment.received_minor, at)
        return purchase
    invoice = await _payable_invoice(connection, purchase, at)
    missing = invoice.remaining_minor - payment.received_minor
    if missing > 0:
        await invoicing.settle(connection, invoice, payment.received_minor, at)
        return purchase
    await credits.grant(
        connection,
        account_id=purchase.account_id,
        amount=purchase.credits,
        kind="purchase",
        key=keys.purchase_grant(purchase.id),
        is_paid=True,
        reason=f"purchase of {purchase.pack_name}",
        at=at,
        subject=ids.encode(ids.PURCHASE, purchase.id),
    )
    done = await store.change(
        connection, purchase.id, status="completed", completed_at=at, closed_at=at,
        invoice_id=invoice.id, failure_code=None, failure_message=None,
    )  # fmt: skip
    await _announce(connection, done, "completed", at, type="evt.billing.credits.purchased")
    if done.top_up_id is not None:
        await top_ups.completed(connection, done.top_up_id, at)
    await invoicing.settle(connection, invoice, payment.received_minor, at)
    return done


async def end_unpaid(
    connection: AsyncConnection,
    purchase_id: UUID,
    status: str,
    at: datetime,
    *,
    code: str | None = None,
    message: str | None = None,
) -> Purchase:
    """`failed` or `expired`, proven not charged: the draft becomes void, the payment closed."""
    purchase = await store.get(connection, purchase_id)
    if purchase.status != "pending":
        return purchase
    payment = await payments.live(connection, purchase.invoice_id, lock=True)
    if payment is not None:
        await paying.close_unpaid(
            connection, payment, "failed" if status == "failed" else "canceled", at
        )
    ended = await store.change(
        connection, purchase.id, status=status, closed_at=at,
        failure_code=code, failure_message=message,
    )  # fmt: skip
    await _announce(connection, ended, status, at, code=code)
    if ended.top_up_id is not None:
        await top_ups.failed(connection, ended.top_up_id, code or status, at)
    invoice = await invoices.get(connection, purchase.invoice_id)
    if invoice.status == "draft":
        await invoicing.void(connection, invoice, f"purchase {status}", at)
    return ended


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


async def _payable_invoice(
    connection: AsyncConnection, purchase: Purchase, at: datetime
) -> Invoice:
    """The purchase's draft; after expiry voided it, a new one for the money that came late."""
    invoice = await invoices.lock(connection, purchase.invoice_id)
    if invoice.status != "void":
        return invoice
    fact_key = f"{ids.encode(ids.PURCHASE, purchase.id)}/invoice-late"
    new = _invoice_of(purchase.model_dump(), invoice.issuer_id, fact_key)
    return await invoicing.draft(connection, new, at)


async def _write(
    connection: AsyncConnection, account: Account, row: dict[str, Any], at: datetime
) -> Purchase:
    """The purchase with its draft and, unless it is paid by hand, its payment."""
    stem = ids.encode(ids.PURCHASE, row["id"])
    invoice = await invoicing.draft(
        connection, _invoice_of(row, account.issuer_id, f"{stem}/invoice"), at
    )
    purchase = await store.add(connection, row | {"invoice_id": invoice.id})
    if purchase.road != "manual":
        await paying.open_road(
            connection,
            invoice,
            road=purchase.road,
            method_id=purchase.payment_method_id,
            at=at,
            first=True,
        )
    await _announce(connection, purchase, "created", at)
    return purchase


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
        "platform": "manual" if wanted.road == "manual" else wanted.platform,
        "road": wanted.road,
        "payment_method_id": wanted.method_id,
        "status": "pending",
        "return_url": wanted.return_url,
        "top_up_id": wanted.top_up_id,
        "correlation_id": context.correlation_id.get(),
        "created_by": context.actor.get(),
        "created_at": at,
        "expires_at": at + _lifetime(wanted.road, settings),
    }


def _invoice_of(row: Mapping[str, Any], issuer_id: UUID | None, fact_key: str) -> NewInvoice:
    """One line for the pack; `row` is a purchase's."""
    return NewInvoice(
        account_id=row["account_id"],
        issuer_id=issuer_id,
        workflow_id=matters.workflow_id("purchase", row["id"]),
        fact_key=fact_key,
        currency=row["currency"],
        purchase_id=row["id"],
        # What a payer writes on a bank transfer; short enough to be copied by hand.
        payment_reference=None if fact_key.endswith("-late") else row["id"].hex[-12:].upper(),
        lines=(
            Line(
                kind="pack",
                description=f"{row['pack_name']}: {show_decimal(row['credits'])} credits",
                unit_amount=Decimal(row["amount_minor"]),
                amount_minor=row["amount_minor"],
                detail={"pack": row["pack"]},
            ),
        ),
    )


def _lifetime(road: Road, settings: Settings) -> timedelta:
    if road == "manual":
        return timedelta(days=settings.manual_expiry_days)
    return timedelta(hours=settings.purchase_expiry_hours)


async def _announce(
    connection: AsyncConnection,
    purchase: Purchase,
    what: str,
    at: datetime,
    *,
    type: str | None = None,
    **detail: Any,
) -> None:
    subject = ids.encode(ids.PURCHASE, purchase.id)
    facts = {
        "purchase_id": subject,
        "pack": purchase.pack,
        "credits": show_decimal(purchase.credits),
        "amount_cents": purchase.amount_minor,
        "currency": purchase.currency,
        **detail,
    }
    await events.announce(
        connection,
        account_id=purchase.account_id,
        action=f"purchase.{what}",
        subject=subject,
        facts=facts,
        at=at,
        type=type,
    )
