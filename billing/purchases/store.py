"""Every query on purchases."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared
from billing.core.errors import NotFound
from billing.core.matters import workflow_id
from billing.core.money import show_decimal, show_money
from billing.core.prepared import Fields, Prepared, given
from billing.events.tables import WAITING_MARKS
from billing.payments.schemas import Payment
from billing.payments.store import show as show_payment
from billing.purchases.rules import PurchaseState, status_words
from billing.purchases.schemas import Purchase
from billing.purchases.tables import purchases

# One round trip for everything the agenda needs; the lock, when asked for, is the purchase's.
_STATE = f"""
SELECT p.*, a.clock_at, pay.status AS payment_status, pay.road AS payment_road,
       pay.id AS payment_id, pay.created_at AS payment_at,
       waiting.id AS submission_id,
       coalesce(pay.checks, 0) AS checks, pay.last_check_at,
       coalesce(pay.stripe_payment_intent_id, pay.stripe_checkout_session_id) IS NOT NULL AS opened,
       p.payment_method_id IS NOT NULL AND EXISTS (
           SELECT FROM payment_attempts a
           WHERE a.invoice_id = p.invoice_id AND a.status = 'pending') AS undecided,
       unsettled.id AS unsettled_id,
       {WAITING_MARKS} AS events
FROM purchases p
JOIN accounts a ON a.id = p.account_id
LEFT JOIN LATERAL (SELECT id, created_at, status, road, checks, last_check_at,
                          stripe_payment_intent_id, stripe_checkout_session_id
                   FROM payments WHERE invoice_id = p.invoice_id
                     AND NOT (road = 'manual' AND status = 'pending')
                   ORDER BY created_at DESC, id DESC LIMIT 1) pay ON true
LEFT JOIN LATERAL (SELECT id FROM payments WHERE workflow_id = :workflow_id
                   AND status IN ('succeeded', 'completed') AND settled_at IS NULL
                   ORDER BY created_at, id LIMIT 1) unsettled ON true
LEFT JOIN payments waiting ON waiting.invoice_id = p.invoice_id
     AND waiting.road = 'manual' AND waiting.status = 'pending'
WHERE p.id = :purchase_id
"""  # noqa: S608 - put together from constants
_READ_STATE = Prepared(text(_STATE))
_LOCK_STATE = Prepared(text(_STATE + "FOR NO KEY UPDATE OF p"))
_GET = Prepared(select(purchases).where(purchases.c.id == given("purchase_id")))
_WITH_PAYMENT = Prepared(
    text(
        """
    SELECT p.*, (SELECT to_jsonb(pay) FROM payments pay WHERE pay.invoice_id = p.invoice_id
                 ORDER BY pay.created_at DESC, pay.id DESC LIMIT 1) AS payment
    FROM purchases p WHERE p.id = :purchase_id
    """
    )
)


async def add(connection: AsyncConnection, row: dict[str, Any]) -> Purchase:
    """Write a purchase."""
    return show(await prepared.add(connection, purchases, row))


async def find(connection: AsyncConnection, purchase_id: UUID) -> Purchase | None:
    """One purchase, archived or not."""
    row = await _GET.first(connection, purchase_id=purchase_id)
    return show(row) if row else None


async def get(connection: AsyncConnection, purchase_id: UUID) -> Purchase:
    """One purchase; PURCHASE_NOT_FOUND [E10]."""
    purchase = await find(connection, purchase_id)
    if purchase is None:
        raise NotFound("PURCHASE_NOT_FOUND", "no such purchase")
    return purchase


async def with_payment(
    connection: AsyncConnection, purchase_id: UUID
) -> tuple[Purchase, Payment | None]:
    """One purchase and its invoice's newest payment; PURCHASE_NOT_FOUND."""
    row = await _WITH_PAYMENT.first(connection, purchase_id=purchase_id)
    if row is None:
        raise NotFound("PURCHASE_NOT_FOUND", "no such purchase")
    payment = row.pop("payment")
    return show(row), show_payment(payment) if payment else None


async def change(connection: AsyncConnection, purchase_id: UUID, **fields: Any) -> Purchase:
    """Overwrite fields of one purchase."""
    return show(await prepared.change(connection, purchases, purchase_id, **fields))


def listing(account_id: UUID, *, status: str | None = None, archived: bool = False) -> Select[Any]:
    """The account's purchases; archived ones only when asked for."""
    query = select(purchases).where(purchases.c.account_id == account_id)
    if status is not None:
        query = query.where(purchases.c.status == status)
    return query if archived else query.where(purchases.c.archived_at.is_(None))


async def state(
    connection: AsyncConnection, purchase_id: UUID, *, lock: bool = False
) -> PurchaseState:
    """The rows' word about one purchase, optionally under its lock; PURCHASE_NOT_FOUND."""
    row = await (_LOCK_STATE if lock else _READ_STATE).first(
        connection, purchase_id=purchase_id, workflow_id=workflow_id("purchase", purchase_id)
    )
    if row is None:
        raise NotFound("PURCHASE_NOT_FOUND", "no such purchase")
    unsettled, submission = row["unsettled_id"], row["submission_id"]
    known = PurchaseState(
        clock_at=row["clock_at"],
        status=row["status"],
        purchase=ids.encode(ids.PURCHASE, purchase_id),
        road="manual" if row["payment_road"] == "manual" else row["road"],
        payment_status=row["payment_status"],
        payment=ids.encode(ids.PAYMENT, row["payment_id"]) if row["payment_id"] else None,
        payment_at=row["payment_at"],
        unsettled=ids.encode(ids.PAYMENT, unsettled) if unsettled else None,
        submission=ids.encode(ids.PAYMENT, submission) if submission else None,
        opened=row["opened"],
        undecided=row["undecided"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        checks=row["checks"],
        last_check_at=row["last_check_at"],
        events=tuple(row["events"]),
    )
    price = show_money(row["amount_minor"], row["currency"])
    what = f"{show_decimal(row['credits'])} credits ({row['pack_name']}) for {price}"
    return known.model_copy(update={"words": status_words(known, what)})


async def archive(connection: AsyncConnection, before: datetime, at: datetime) -> int:
    """Flag final purchases older than `before` [E14]; they stay readable by id."""
    done = await connection.execute(
        update(purchases)
        .where(
            purchases.c.created_at < before,
            purchases.c.archived_at.is_(None),
            purchases.c.status != "pending",
        )
        .values(archived_at=at)
        .returning(purchases.c.id)
    )
    return len(done.all())


def show(row: Fields) -> Purchase:
    """A row as a purchase."""
    return Purchase.model_validate(dict(row))
