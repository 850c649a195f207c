"""Queries on purchases."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import NotFound
from billing.core.prepared import Fields, Prepared, given, last_of, written
from billing.money.invoices.tables import invoices
from billing.money.payments.schemas import Payment
from billing.money.payments.store import show as show_payment
from billing.money.purchases.schemas import Purchase
from billing.money.purchases.tables import purchases
from billing.money.top_ups.tables import top_ups
from billing.platform.accounts.tables import accounts

ARCHIVE_BATCH: Final = 5_000
_GET = Prepared(select(purchases).where(purchases.c.id == given("purchase_id")))
_WITH_PAYMENT = Prepared(
    text(
        """
    SELECT p.*, (SELECT to_jsonb(pay) FROM payments pay WHERE pay.invoice_id = p.invoice_id
                 ORDER BY pay.created_at DESC, pay.id DESC LIMIT 1) AS payment,
        p.status = 'pending' AND EXISTS (SELECT FROM invoices i WHERE i.id = p.invoice_id
            AND i.cancel_asked_at IS NOT NULL) AS is_canceling
    FROM purchases p WHERE p.id = :purchase_id
    """
    )
)


class Found(NamedTuple):
    """A purchase as it is shown."""

    purchase: Purchase
    payment: Payment | None
    """The newest one of its invoice."""
    is_canceling: bool
    """It is pending, and its buyer has asked to cancel it."""

    @property
    def flows(self) -> frozenset[str]:
        """The flow in which it was begun, and that of its newest payment."""
        return frozenset(one.flow for one in (self.purchase, self.payment) if one is not None)


async def find(connection: AsyncConnection, purchase_id: UUID) -> Purchase | None:
    """One purchase, archived or not."""
    row = await _GET.first(connection, purchase_id=purchase_id)
    return show(row) if row else None


async def get(connection: AsyncConnection, purchase_id: UUID) -> Purchase:
    """One purchase; PURCHASE_NOT_FOUND [E10]."""
    purchase = await find(connection, purchase_id)
    if purchase is None:
        raise NotFound("PURCHASE_NOT_FOUND")
    return purchase


async def with_payment(connection: AsyncConnection, purchase_id: UUID) -> Found:
    """One purchase and its invoice's newest payment; PURCHASE_NOT_FOUND."""
    rows = await last_of(connection, (_WITH_PAYMENT, {"purchase_id": purchase_id}))
    if not rows:
        raise NotFound("PURCHASE_NOT_FOUND")
    (row,) = rows
    payment, is_canceling = row.pop("payment"), row.pop("is_canceling")
    return Found(show(row), show_payment(payment) if payment else None, is_canceling)


async def cancels_asked(connection: AsyncConnection, bought: Iterable[Purchase]) -> set[UUID]:
    """The pending ones of these purchases that their buyer asked to cancel."""
    pending = {one.invoice_id: one.id for one in bought if one.status == "pending"}
    if not pending:
        return set()
    asked = invoices.c.cancel_asked_at.is_not(None) & invoices.c.id.in_(pending)
    return {pending[one] for one in await connection.scalars(select(invoices.c.id).where(asked))}


def listing(
    account_id: UUID | None,
    *,
    status: str | None = None,
    pack: str | None = None,
    archived: bool = False,
) -> Select[Any]:
    """Select the account's purchases; archived ones only on request. Without an account: all
    accounts, for operators.
    """
    query = select(purchases)
    if account_id is not None:
        query = query.where(purchases.c.account_id == account_id)
    if pack is not None:
        query = query.where(purchases.c.pack == pack)
    if status is not None:
        query = query.where(purchases.c.status == written(status))
    return query if archived else query.where(purchases.c.archived_at.is_(None))


async def spent_on_top_ups(connection: AsyncConnection, account_id: UUID, since: datetime) -> int:
    """Sum the top-ups bought since then that are, or may still be, paid; in minor units."""
    total = await connection.scalar(
        select(func.coalesce(func.sum(top_ups.c.amount_minor), 0))
        .join(purchases, purchases.c.id == top_ups.c.purchase_id)
        .where(
            purchases.c.account_id == account_id,
            purchases.c.created_at >= since,
            top_ups.c.status.in_(("buying", "completed")),
        )
    )
    return int(total or 0)


async def archive(connection: AsyncConnection, after: timedelta, now: datetime) -> int:
    """Archive a bounded batch of final purchases older than `after` [E14] by their account's clock;
    return how many. They stay readable by id.
    """
    final = purchases.c.archived_at.is_(None) & (purchases.c.status != "pending")
    bought = (
        select(purchases.c.id).where(final).join(accounts, accounts.c.id == purchases.c.account_id)
    )
    # Two searches, each by an index: few accounts have a clock, and it may show any time.
    real = (
        bought.where(accounts.c.clock_at.is_(None), purchases.c.created_at < now - after)
        .order_by(purchases.c.created_at)
        .limit(ARCHIVE_BATCH)
    )
    tested = bought.where(
        accounts.c.clock_at.is_not(None), purchases.c.created_at < accounts.c.clock_at - after
    ).limit(ARCHIVE_BATCH)
    done = 0
    for old in (real, tested):
        flagged = update(purchases).where(purchases.c.id.in_(old)).values(archived_at=now)
        done += (await connection.execute(flagged)).rowcount
    return done


def show(row: Fields) -> Purchase:
    """A row as a purchase."""
    return Purchase.model_validate(dict(row))
