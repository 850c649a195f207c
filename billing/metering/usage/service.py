"""Pay a recorded use, and set its status; sql_batch.py records uses, quoting.py quotes them.

Each verb runs in the caller's transaction.
"""

import json
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rating.schemas import (
    BY_CARD,
    BY_PAID_CREDITS,
    BY_PLAN,
    CREDIT,
)
from billing.core import ids
from billing.core.errors import Conflict, NotFound, PaymentRequired
from billing.core.prepared import Prepared
from billing.ledger.credits import service as credits
from billing.ledger.credits.schemas import Debit
from billing.matters.effects import Announce
from billing.metering.usage import rules, store
from billing.metering.usage.schemas import BillingRecord
from billing.platform.outbox import service as outbox

NO_BALANCE: Final = "Insufficient wallet balance"
ONLY_BY_CARD: Final = "only a card can pay this use: its product has no price per unit in credits"
_DUE_IN_CREDITS = Prepared(
    text(
        "SELECT d.unit_price, d.total FROM billing_records r, usage_due_in_credits(r) d"
        " WHERE r.id = :record_id AND r.month = ANY (usage_record_months(:record_id))"
    )
)
_PRICE_IN_CREDITS = Prepared(
    text("SELECT usage_price_in_credits(:account_id, :record_id, :unit_price, :total)")
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
    Errors: BILLING_RECORD_NOT_FOUND; PAYMENT_CHARGE_NOT_OFFERED; NOT_INCLUDED if the plan should
    pay; BILLED_ON_INVOICE for a use that the next invoice charges; PRODUCT_PRICING_NOT_FOUND for
    one that only a card can pay.
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
            "PAYMENT_CHARGE_NOT_OFFERED",
            "this use is priced in credits; a card cannot pay it",
            reason="no_price",
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
