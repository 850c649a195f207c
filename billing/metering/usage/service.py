"""Quote usage, and pay an existing record; sql_batch.py records uses.

Each verb runs in the caller's transaction.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products import store as products
from billing.catalog.products.schemas import LEVELS, Product, ProductPrice
from billing.catalog.rating import rules as rating
from billing.catalog.rating.schemas import (
    BY_CARD,
    BY_PAID_CREDITS,
    BY_PLAN,
    CREDIT,
    IncludedUnits,
    PriceTerms,
    Rating,
)
from billing.core import clock, ids
from billing.core.errors import Conflict, NotAllowed, NotFound, PaymentRequired
from billing.core.money import ZERO
from billing.core.prepared import Prepared
from billing.ledger.credits import service as credits
from billing.ledger.credits.schemas import Debit
from billing.matters.effects import Announce
from billing.metering.usage import rules, store
from billing.metering.usage.schemas import BillingRecord, Counter, Period
from billing.platform.outbox import service as outbox

NO_PRICE: Final = "Product pricing not found"
NO_BALANCE: Final = "Insufficient wallet balance"
ONLY_BY_CARD: Final = "only a card can pay this use: its product has no price per unit in credits"
NO_PLAN_PAYS: Final = "no plan of this account allows this use"
_DUE_IN_CREDITS = Prepared(
    text(
        "SELECT d.unit_price, d.total FROM billing_records r, usage_due_in_credits(r) d"
        " WHERE r.id = :record_id AND r.month = ANY (usage_record_months(:record_id))"
    )
)
_PRICE_IN_CREDITS = Prepared(
    text("SELECT usage_price_in_credits(:account_id, :record_id, :unit_price, :total)")
)
_CLAIMED: Final = text(
    "SELECT m.meter, quota_reserved(:account_id, m.meter, :at, '{}') AS amount"
    " FROM unnest(CAST(:meters AS text[])) AS m(meter)"
)
_SET_STATUS = Prepared(
    text(
        "SELECT usage_set_status(:account_id, :record_id, :method, :status, :transaction_id,"
        " CAST(:detail AS jsonb), :at)"
    )
)


class PriceInCredits(NamedTuple):
    """The price of a use in credits."""

    unit_price: Decimal
    total: Decimal


class Quotes(NamedTuple):
    """A use rated in each currency that its product has a price in, and by the plan."""

    prices: dict[str, Rating]
    plan: Rating | None = None
    """Set if the plan limits the meter and goes on beyond what it includes."""
    currency: str | None = None
    """The currency of the plan's price."""
    is_entitled: bool = True
    """False while no plan gives the account anything: then none pays, not even what is free."""


async def quote(
    connection: AsyncConnection, account_id: UUID, product_key: str, amount: Decimal, at: datetime
) -> Rating:
    """Rate a use of a product in credits at an instant; write nothing.

    Errors: PRODUCT_PRICING_NOT_FOUND [F11].
    """
    found = await quotes(connection, account_id, product_key, amount, (CREDIT,), at)
    if not found.prices:
        raise NotFound("PRODUCT_PRICING_NOT_FOUND", NO_PRICE)
    return found.prices[CREDIT]


async def quotes(
    connection: AsyncConnection,
    account_id: UUID,
    product_key: str,
    amount: Decimal,
    currencies: Collection[str],
    at: datetime,
) -> Quotes:
    """As `quote`, in each of these currencies that has a price, and by the plan."""
    product = await products.find_product(connection, product_key)
    priced = [
        price
        for currency in currencies
        if (price := await products.price_at(connection, account_id, product_key, currency, at))
    ]
    if product is None or not priced:
        return Quotes({})
    _, counts = await store.meter_of(connection, product_key, None, None, amount)
    period = await store.open_period(connection, account_id, at)
    return await _rate(connection, account_id, product, counts, amount, priced, period, at)


async def operation_total(
    connection: AsyncConnection,
    account_id: UUID,
    operation: str | None,
    meter: str,
    units: Decimal,
    at: datetime,
) -> Decimal:
    """Return the cost in credits of `units` more of a meter by an operation without a product,
    beyond what a plan includes; zero for one that has no price.
    """
    unit_price = await store.operation_cost(connection, operation)
    if unit_price is None:
        return ZERO
    period = await store.open_period(connection, account_id, at)
    allowance = None
    if period is not None:
        counters = await store.cycle_counters(connection, account_id, "", period.start_at)
        allowance = await _allowance(connection, account_id, meter, period, counters.get(meter), at)
    return rating.rate(units, PriceTerms(unit_price=unit_price), allowance=allowance).total


async def claimed(
    connection: AsyncConnection, account_id: UUID, period: Period, at: datetime
) -> dict[str, Decimal]:
    """Return the claimed amounts without a record, of each meter that the plan blocks."""
    blocking = [meter for meter, limit in period.limits.items() if limit.is_hard]
    if not blocking:
        return {}
    values = {"account_id": account_id, "meters": blocking, "at": at}
    rows = await connection.execute(_CLAIMED, values)
    return {row.meter: row.amount for row in rows}


async def price_in_money(
    connection: AsyncConnection, record: BillingRecord, currency: str
) -> Rating | None:
    """Return the cost of a use's charged units in a currency, at the price of its time.

    None without a plain price per unit: the tiers count uses that were paid in another way.
    """
    price = await products.price_at(
        connection, record.account_id, record.product_id or "", currency, record.occurred_at
    )
    if price is None or not price.terms.is_plain:
        return None
    return rating.rate(record.charged_units, price.terms, currency=currency)


async def _rate(
    connection: AsyncConnection,
    account_id: UUID,
    product: Product,
    counts: str,
    amount: Decimal,
    priced: Sequence[ProductPrice],
    period: Period | None,
    at: datetime,
) -> Quotes:
    """Rate after the open cycle's use; for a level, only the rise above its maximum counts."""
    if counts == "count":
        amount = Decimal(1)
    if period is None:
        plain = {
            price.currency: rating.rate(amount, price.terms, currency=price.currency, uses=0)
            for price in priced
        }
        return Quotes(plain)
    counters = await store.cycle_counters(connection, account_id, "", period.start_at)
    counter = counters.get(product.meter)
    if counts in LEVELS:
        amount = max(ZERO, amount - (counter.maximum if counter else ZERO))
    limit = period.limits.get(product.meter)
    allowance = await _allowance(connection, account_id, product.meter, period, counter, at)
    free = max(price.terms.free_transactions for price in priced)
    seen = await store.priced_units(
        connection, account_id, product.key, product.meter, period, free
    )
    prices = {
        price.currency: rating.rate(
            amount, price.terms, before=seen.units, allowance=allowance, currency=price.currency,
            paid=seen.credits if price.currency == CREDIT else seen.money, uses=seen.uses,
        )
        for price in priced
    }  # fmt: skip
    plan = None
    if limit is not None and limit.then in ("overage", "notify"):
        plan = rules.by_plan(limit, counter, amount, period.currency or "")
    return Quotes(prices, plan, period.currency, period.no_entitlement is None)


async def _allowance(
    connection: AsyncConnection,
    account_id: UUID,
    meter: str,
    period: Period,
    counter: Counter | None,
    at: datetime,
) -> IncludedUnits | None:
    """Return what the plan includes of a meter, with what is used or claimed of it."""
    limit = period.limits.get(meter)
    if limit is None:
        return None
    aside = await claimed(connection, account_id, period, at) if limit.is_hard else {}
    used = limit.used(counter) + aside.get(meter, ZERO)
    return IncludedUnits(included=limit.included, used=used)


def demand(period: Period, meter: str) -> None:
    """Refuse use that only a plan would pay if no plan gives access. Errors: NO_ENTITLEMENT."""
    if period.no_entitlement is not None:
        raise NotAllowed(
            "NO_ENTITLEMENT", NO_PLAN_PAYS, access="none", reason=period.no_entitlement, meter=meter
        )


async def demand_for(connection: AsyncConnection, account_id: UUID, meter: str) -> None:
    """As `demand`, now, for a hold on a meter that credits do not pay for."""
    at = await clock.now(connection, account_id)
    await demand_plan(connection, await store.open_period(connection, account_id, at), meter)


async def demand_plan(connection: AsyncConnection, period: Period | None, meter: str) -> None:
    """As `demand`, for a use without a named product: the meter's products may have prices."""
    if period is None or period.no_entitlement is None:
        return
    if await store.only_plans_pay(connection, meter):
        demand(period, meter)


async def pay_record(
    connection: AsyncConnection,
    account_id: UUID,
    record_id: UUID,
    method: str | None,
    at: datetime,
    *,
    force: bool = False,
) -> tuple[BillingRecord, PaymentRequired | None]:
    """Pay a pending or failed record [F13]; return any other record unchanged.

    With `force` the account may owe credits, up to its overdraft. Without enough credits the
    record becomes `failed`; the refusal is returned, not raised, so that the caller can commit.
    Errors: BILLING_RECORD_NOT_FOUND; PAYMENT_CHARGE_NOT_OFFERED; BILLED_ON_INVOICE for a use that
    the next invoice charges; PRODUCT_PRICING_NOT_FOUND for one that only a card can pay.
    """
    record = await store.get_record(connection, account_id, record_id)
    if record.billing_status not in ("pending", "failed"):
        return record, None
    if record.currency != CREDIT:  # before any lock: card charges and invoices take others
        if record.billing_method == BY_CARD and method in (None, BY_CARD):
            return record, None
        if not record.is_owed:
            raise Conflict("BILLED_ON_INVOICE")
    await credits.lock(connection, account_id)
    record = await store.get_record(connection, account_id, record_id, lock=True)
    if record.billing_status not in ("pending", "failed") or record.is_charging:
        return record, None
    chosen, due = _chosen(record, method), await _in_credits(connection, record)
    try:  # no savepoint: a refusal must keep its request for a top-up
        debit = await _debit(connection, record, due.total, chosen, at, force=force)
    except PaymentRequired as refusal:
        if chosen == BY_PAID_CREDITS:
            refusal = PaymentRequired(refusal.code, NO_BALANCE, **refusal.fields)
        # What stays priced in money is still for a card to pay.
        kept = chosen if record.currency == CREDIT else record.billing_method
        return await write(connection, record, kept, "failed", None, at), refusal
    if record.currency != CREDIT:
        await _PRICE_IN_CREDITS.send(
            connection, account_id=account_id, record_id=record_id, unit_price=due.unit_price,
            total=due.total,
        )  # fmt: skip
    done = await write(connection, record, chosen, "completed", debit.transaction_id, at)
    return done, None


async def _in_credits(connection: AsyncConnection, record: BillingRecord) -> PriceInCredits:
    """Return what an unpaid use costs in credits. Errors: PRODUCT_PRICING_NOT_FOUND."""
    found = await _DUE_IN_CREDITS.first(connection, record_id=record.id)
    if found is None:
        raise NotFound("PRODUCT_PRICING_NOT_FOUND", ONLY_BY_CARD)
    return PriceInCredits(**found)


async def _debit(
    connection: AsyncConnection,
    record: BillingRecord,
    amount: Decimal,
    method: str,
    at: datetime,
    *,
    force: bool,
) -> Debit:
    """Debit a use, once (usage_owed_debit). Errors: INSUFFICIENT_CREDITS."""
    subject = ids.encode(ids.BILLING_RECORD, record.id)
    return await credits.debit(
        connection,
        account_id=record.account_id,
        amount=amount,
        key=f"process/{subject}",
        reason=f"usage: {record.product_id or record.operation}",
        at=at,
        scope=record.meter,
        paid_only=method == BY_PAID_CREDITS,
        force=force,
        subject=subject,
    )


def _chosen(record: BillingRecord, method: str | None) -> str:
    """Return the payment method of a use priced in credits."""
    chosen = method or record.billing_method
    if chosen == BY_CARD:
        raise Conflict(
            "PAYMENT_CHARGE_NOT_OFFERED", "this use is priced in credits; a card cannot pay it"
        )
    if chosen == BY_PLAN:
        raise Conflict("NOT_INCLUDED")
    return chosen


async def write(
    connection: AsyncConnection,
    record: BillingRecord,
    method: str,
    status: str,
    transaction_id: UUID | None,
    at: datetime,
) -> BillingRecord:
    """Record a record's new status, its event [F20], and its day's statistics."""
    await set_status(
        connection, account_id=record.account_id, record_id=record.id, method=method,
        status=status, transaction_id=transaction_id, at=at,
    )  # fmt: skip
    action, subject = rules.STATUS_ACTIONS[status], ids.encode(ids.BILLING_RECORD, record.id)
    facts = rules.status_facts(record.id, method, status)
    await outbox.announce(connection, Announce(record.account_id, action, subject, facts), at)
    return await store.get_record(connection, record.account_id, record.id)


async def set_status(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    record_id: UUID,
    method: str,
    status: str,
    transaction_id: UUID | None = None,
    at: datetime,
) -> None:
    """Set a record's status and move its day's statistics; the caller publishes the event."""
    await _SET_STATUS.send(
        connection, account_id=account_id, record_id=record_id, method=method, status=status,
        transaction_id=transaction_id, detail=json.dumps({"method": method}), at=at,
    )  # fmt: skip
