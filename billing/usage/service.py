"""What usage would cost, and an existing record settled; recording itself is one SQL call.

Each verb runs in the caller's transaction.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rules import DEFAULT_CURRENCY
from billing.core import ids
from billing.core.errors import Conflict, NotFound, PaymentRequired
from billing.core.money import ZERO
from billing.credits import service as credits
from billing.credits import store as balances
from billing.events import service as events
from billing.payments.tables import payment_methods
from billing.products import store as products
from billing.products.schemas import MeterKind
from billing.rating import rules as rating
from billing.rating.schemas import CREDIT, Allowance, Method, Rating
from billing.usage import rules, store
from billing.usage.schemas import BillingRecord, Period

NO_PRICE: Final = "Product pricing not found"
_TOLD: Final = {"completed": "usage.settled", "pending": "usage.retried"}
NO_BALANCE: Final = "Insufficient wallet balance"
_SETTLE: Final = text(
    "SELECT usage_settle(:account_id, :id, :method, :status, :transaction_id,"
    " CAST(:detail AS jsonb), :at)"
)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a use would cost now, and how it could be paid."""

    rating: Rating
    currency: str
    suggested: Method
    available: tuple[Method, ...]


async def quote(
    connection: AsyncConnection, account_id: UUID, product_key: str, amount: Decimal, at: datetime
) -> Quote:
    """Rate a use of a product at an instant; writes nothing [F8].

    Errors: PRODUCT_PRICING_NOT_FOUND [F11].
    """
    product = await products.find_product(connection, product_key)
    price = await products.price_at(connection, account_id, product_key, CREDIT, at)
    if product is None or price is None:
        raise NotFound("PRODUCT_PRICING_NOT_FOUND", NO_PRICE)
    _, counts = await store.meter_of(connection, product_key, None, None)
    period = await store.open_period(connection, account_id, at)
    found = await _rate(
        connection, account_id, product_key, product.meter, counts, amount, price.terms, period
    )
    known = await balances.overview(connection, account_id, at)
    bought = known.paid if known else ZERO
    free = known.balance - known.held - bought if known else ZERO
    chargeable = await _chargeable(connection, account_id, product_key, at)
    suggested, available = rating.methods(
        found, paid_credits=bought, free_credits=max(ZERO, free), chargeable=chargeable
    )
    return Quote(found, CREDIT, suggested, available)


async def _rate(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    meter: str,
    counts: MeterKind | str,
    amount: Decimal,
    terms: Any,
    period: Period | None,
) -> Rating:
    """After what the open cycle has used; of a level, only what rises above its highest counts."""
    if period is None:
        return rating.rate(Decimal(1) if counts == "count" else amount, terms)
    counters = await store.cycle_counters(connection, account_id, "", period.start_at)
    counter = counters.get(meter)
    if counts == "count":
        amount = Decimal(1)
    elif counts in ("max", "last"):
        amount = max(ZERO, amount - (counter.maximum if counter else ZERO))
    limit = period.limits.get(meter)
    allowance = (
        Allowance(included=Decimal(limit["included"]), used=counter.quantity if counter else ZERO)
        if limit
        else None
    )
    before, paid = await store.priced_units(connection, account_id, product, period.start_at)
    return rating.rate(amount, terms, before=before, paid=paid, allowance=allowance)


async def _chargeable(
    connection: AsyncConnection, account_id: UUID, product: str, at: datetime
) -> bool:
    """Whether the product has a price in the account's currency, and the account a usable card."""
    currency = await balances.currency(connection, account_id) or DEFAULT_CURRENCY
    price = await products.price_at(connection, account_id, product, currency, at)
    if price is None or price.terms.model != "per_unit" or price.terms.free_units:
        return False
    method = payment_methods.c
    usable = (
        (method.account_id == account_id) & (method.status == "active") & method.barred_at.is_(None)
    )
    return bool(await connection.scalar(select(exists().where(usable))))


async def settle(
    connection: AsyncConnection,
    account_id: UUID,
    record_id: UUID,
    method: str | None,
    at: datetime,
    *,
    force: bool = False,
) -> tuple[BillingRecord, PaymentRequired | None]:
    """Pay a record that was put off or has failed [F13]; a settled one is answered as it is.

    With `force` the account may owe credits, up to its overdraft. Without enough credits the
    record is `failed`, and the refusal comes beside it, so that the caller may commit first.
    Errors: BILLING_RECORD_NOT_FOUND; PAYMENT_CHARGE_NOT_OFFERED; BILLED_ON_INVOICE for what the
    next invoice charges.
    """
    record = await store.get_record(connection, account_id, record_id)
    if record.billing_status not in ("pending", "failed"):
        return record, None
    if record.currency != CREDIT:  # before any lock: its card or its cycle's close has others
        if record.billing_method == "payment_charge" and method in (None, "payment_charge"):
            return record, None
        raise Conflict("BILLED_ON_INVOICE", "an invoice charges this use")
    await credits.lock(connection, account_id)
    record = await store.get_record(connection, account_id, record_id, lock=True)
    if record.billing_status not in ("pending", "failed"):
        return record, None
    chosen = _chosen(record, method)
    try:
        async with connection.begin_nested():
            debit = await credits.debit(
                connection,
                account_id=account_id,
                amount=record.total_amount,
                key=f"process/{ids.encode(rules.BILLING_ID, record_id)}",
                reason=f"usage: {record.product_id}",
                at=at,
                paid_only=chosen == "wallet_deduction",
                force=force,
                subject=ids.encode(rules.BILLING_ID, record_id),
            )
    except PaymentRequired as refusal:
        short = PaymentRequired(refusal.code, NO_BALANCE, **refusal.fields)
        return await write(connection, record, chosen, "failed", None, at), short
    done = await write(connection, record, chosen, "completed", debit.transaction_id, at)
    return done, None


def _chosen(record: BillingRecord, method: str | None) -> str:
    """How a use priced in credits is to be paid."""
    chosen = method or record.billing_method
    if chosen == "payment_charge":
        raise Conflict("PAYMENT_CHARGE_NOT_OFFERED", "credits were to pay this use")
    if chosen == "subscription_included":
        raise Conflict("NOT_INCLUDED", "the plan does not cover this use")
    return chosen


async def write(
    connection: AsyncConnection,
    record: BillingRecord,
    method: str,
    status: str,
    transaction_id: UUID | None,
    at: datetime,
) -> BillingRecord:
    """Note what became of a record: its status and event [F20], and its day's statistics."""
    values = {
        "account_id": record.account_id, "id": record.id, "method": method, "status": status,
        "transaction_id": transaction_id, "detail": json.dumps({"method": method}), "at": at,
    }  # fmt: skip
    await connection.execute(_SETTLE, values)
    await events.announce(
        connection,
        account_id=record.account_id,
        action=_TOLD.get(status, "usage.failed"),
        subject=ids.encode(rules.BILLING_ID, record.id),
        facts={
            "billing_id": ids.encode(rules.BILLING_ID, record.id),
            "billing_method": method,
            "billing_status": status,
        },
        at=at,
    )
    return await store.get_record(connection, record.account_id, record.id)
