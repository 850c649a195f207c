"""An account whose customer was deleted at the card provider: its cards went with the customer.

What was opened for that customer is called back, so that the next card pays by a payment of the
account's next customer.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.ledger.credits import service as credits
from billing.matters.schemas import Matter
from billing.money.invoice_requests import locks
from billing.money.invoices.schemas import OWED
from billing.money.invoices.tables import invoices
from billing.money.payment_methods import service as methods
from billing.money.payments import store as payment_store
from billing.money.payments.tables import payments
from billing.platform.accounts import store as accounts
from billing.platform.audit import service as audit


async def opened(connection: AsyncConnection, account_id: UUID) -> list[UUID]:
    """Return the unpaid invoices of which a payment waits at the card provider."""
    rows = await connection.execute(
        select(invoices.c.id)
        .join(payments, payments.c.invoice_id == invoices.c.id)
        .where(
            payments.c.account_id == account_id,
            payments.c.status == "pending",
            payments.c.stripe_payment_intent_id.is_not(None),
            invoices.c.status.in_(OWED),
        )
        .order_by(invoices.c.id)
    )
    return list(rows.scalars())


async def call_back(connection: AsyncConnection, invoice_id: UUID, at: datetime) -> list[Matter]:
    """Have the invoice's waiting payment called back; return the matters to notify.

    Errors: UNAVAILABLE.
    """
    invoice = await locks.take(connection, invoice_id)
    live = await payment_store.live(connection, invoice_id, lock=True)
    if live is None or live.status != "pending" or live.stripe_payment_intent_id is None:
        return []
    await payment_store.change(connection, live.id, superseded_at=at)
    return [await locks.wake(connection, invoice, at)]


async def forget(
    connection: AsyncConnection, account_id: UUID, customer_id: str, at: datetime
) -> list[Matter] | None:
    """Forget a deleted customer and its cards; None if the account has another one by now.

    Returns the woken matters, to be notified after the commit.
    """
    await credits.lock(connection, account_id)
    if not await accounts.forget_customer(connection, account_id, customer_id):
        return None
    await audit.record(
        connection,
        account_id=account_id,
        action="account.customer_gone",
        subject=ids.encode(ids.ACCOUNT, account_id),
        at=at,
        customer_id=customer_id,
    )
    return await methods.all_gone(connection, account_id, at)
