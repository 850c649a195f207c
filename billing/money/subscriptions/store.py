"""Queries on subscriptions and their items."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import OPEN_STATUSES, RUNNING
from billing.catalog.plans.tables import plans, prices
from billing.core import ids, row_writes
from billing.core.errors import NotFound
from billing.core.failpoints import failpoint
from billing.core.prepared import Fields, Prepared, given, last_of
from billing.metering.usage import store as usage_store
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions.schemas import (
    Item,
    RestReturned,
    Subscription,
    SubscriptionChange,
)
from billing.money.subscriptions.tables import (
    subscription_changes,
    subscription_items,
    subscriptions,
)

_OF_ID = select(subscriptions).where(subscriptions.c.id == given("subscription_id"))
_GET = Prepared(_OF_ID)
_LOCK = Prepared(_OF_ID.with_for_update(key_share=True))
_FIND_OPEN = Prepared(
    select(subscriptions).where(
        subscriptions.c.account_id == given("account_id"), subscriptions.c.status.in_(OPEN_STATUSES)
    )
)
_CURRENT = Prepared(
    select(subscriptions)
    .where(subscriptions.c.account_id == given("account_id"))
    .order_by(
        subscriptions.c.status.in_(OPEN_STATUSES).desc(),
        subscriptions.c.created_at.desc(),
        subscriptions.c.id.desc(),  # two of one instant, on a clock that stands still
    )
    .limit(1)
)
_ITEMS = Prepared(
    select(subscription_items)
    .where(subscription_items.c.subscription_id == given("subscription_id"))
    .order_by(subscription_items.c.id)
)

_CHANGE = Prepared(
    select(subscription_changes).where(subscription_changes.c.id == given("change_id"))
)
_OPEN_CHANGES = Prepared(
    select(subscription_changes)
    .where(
        subscription_changes.c.subscription_id == given("subscription_id"),
        subscription_changes.c.status.in_(["pending", "scheduled"]),
    )
    .order_by(subscription_changes.c.id)
)
# A plan that costs nothing is charged for, too: for its add-ons, a minimum, a commitment, and use.
_CHARGED_IN = Prepared(
    text(
        """
    SELECT s.currency FROM subscriptions s
    WHERE s.account_id = :account_id AND s.status = ANY (:running) AND s.collection = 'charge'
      AND (s.status <> 'active' OR s.amount_minor > 0 OR s.minimum_minor > 0
           OR s.commitment ->> 'ends_at' IS NOT NULL
           OR EXISTS (SELECT FROM subscription_items i WHERE i.subscription_id = s.id
                      AND i.amount_minor * coalesce(i.next_quantity, i.quantity) > 0)
           OR EXISTS (SELECT FROM usage_periods u
                      WHERE u.account_id = s.account_id AND u.subscription_id = s.id
                        AND u.closed_at IS NULL
                        AND u.limits @? '$.* ? (@.then == "overage")'))
    """
    )
)

# The credit notes of an immediate end, and the refunds of what they credited to the balance.
_GIVEN_BACK = Prepared(
    text(
        """
    WITH given AS (
        SELECT b.amount_minor
        FROM subscriptions s JOIN invoices i ON i.subscription_id = s.id
        JOIN balance_entries b ON b.account_id = s.account_id AND b.invoice_id = i.id
        JOIN credit_notes n ON n.fact_key = replace(b.key, '/balance-credited-', '/')
        WHERE s.id = :subscription_id AND b.kind = 'credited' AND b.at = s.ended_at
          AND n.kind IN ('canceled', 'unserved')
        UNION ALL
        -- What payments brought that were under way then.
        SELECT b.amount_minor
        FROM invoices i JOIN payments p ON p.invoice_id = i.id
        JOIN balance_entries b ON b.account_id = p.account_id AND b.invoice_id = i.id
        WHERE i.subscription_id = :subscription_id AND p.rest_refund IS NOT NULL
          AND b.at = p.settled_at
          AND (b.kind = 'overpaid' OR b.kind = 'unasked' AND b.payment_id = p.id))
    SELECT sum(amount_minor)::bigint AS credited_minor,
           (SELECT coalesce(sum(r.amount_minor), 0)::bigint
            FROM refunds r JOIN invoices i ON i.id = r.invoice_id
            WHERE i.subscription_id = :subscription_id AND r.status <> 'failed'
              AND starts_with(r.key, public_id('sub', :subscription_id) || '/ended/')
           ) AS refunded_minor
    FROM given HAVING count(*) > 0
    """
    )
)


async def add(
    connection: AsyncConnection, row: dict[str, Any], items: list[dict[str, Any]]
) -> Subscription:
    """Insert a subscription with its items; the database allows one open per account."""
    subscription = show(await row_writes.add(connection, subscriptions, row))
    whose = {"account_id": row["account_id"], "subscription_id": row["id"]}
    for item in items:
        await row_writes.add(connection, subscription_items, item | whose | {"id": ids.new()})
    await usage_store.follow(connection, subscription.account_id, subscription.cycle_start)
    return subscription


async def get(
    connection: AsyncConnection, subscription_id: UUID, *, lock: bool = False
) -> Subscription:
    """Return one subscription, optionally locked. Errors: SUBSCRIPTION_NOT_FOUND."""
    row = await (_LOCK if lock else _GET).first(connection, subscription_id=subscription_id)
    if row is None:
        raise NotFound("SUBSCRIPTION_NOT_FOUND", "no such subscription")
    return show(row)


async def find_open(connection: AsyncConnection, account_id: UUID) -> Subscription | None:
    """The account's one open subscription."""
    row = await _FIND_OPEN.first(connection, account_id=account_id)
    return show(row) if row else None


async def find_current(connection: AsyncConnection, account_id: UUID) -> Subscription | None:
    """Return the open subscription, else the newest that ended."""
    rows = await last_of(connection, (_CURRENT, {"account_id": account_id}))
    return show(rows[0]) if rows else None


def listing(
    account_id: UUID | None,
    *,
    plan: str | None,
    price_minor: int | None,
    currency: str | None,
    status: str | None,
) -> Select[Any]:
    """Select subscriptions with the plan and price versions they were sold with, for operators; the
    caller sorts and limits.
    """
    query = (
        select(
            subscriptions,
            plans.c.version.label("plan_version"),
            prices.c.version.label("price_version"),
            prices.c.amount_minor.label("price_cents"),
        )
        .join(plans, plans.c.id == subscriptions.c.plan_id)
        .join(prices, prices.c.id == subscriptions.c.price_id)
    )
    for column, wanted in (
        (subscriptions.c.account_id, account_id), (subscriptions.c.plan_key, plan),
        (prices.c.amount_minor, price_minor), (subscriptions.c.currency, currency),
        (subscriptions.c.status, status),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    return query


async def change(connection: AsyncConnection, subscription_id: UUID, **fields: Any) -> Subscription:
    """Overwrite fields of one subscription; the caller passes `updated_at` too."""
    return show(await row_writes.change(connection, subscriptions, subscription_id, **fields))


async def items(connection: AsyncConnection, subscription_id: UUID) -> list[Item]:
    """Return the paid items: the plan, seats, add-ons."""
    rows = await _ITEMS.all(connection, subscription_id=subscription_id)
    return [Item.model_validate(dict(row)) for row in rows]


async def find_change(connection: AsyncConnection, change_id: UUID) -> SubscriptionChange | None:
    """Return a change by its id, in any status."""
    row = await _CHANGE.first(connection, change_id=change_id)
    return SubscriptionChange.model_validate(dict(row)) if row is not None else None


async def pending_change(
    connection: AsyncConnection, subscription_id: UUID
) -> SubscriptionChange | None:
    """Return the change of a subscription that waits for its payment."""
    found = await open_changes(connection, subscription_id)
    return next((one for one in found if one.status == "pending"), None)


async def open_changes(
    connection: AsyncConnection, subscription_id: UUID
) -> list[SubscriptionChange]:
    """Return the changes still to come: at most one `pending`, and one `scheduled` of each kind."""
    rows = await _OPEN_CHANGES.all(connection, subscription_id=subscription_id)
    return [SubscriptionChange.model_validate(dict(row)) for row in rows]


def changes_of(account_id: UUID) -> Select[Any]:
    """Select all changes of an account's subscriptions; the caller sorts and limits."""
    return select(subscription_changes).where(subscription_changes.c.account_id == account_id)


async def invoice_to_pay(connection: AsyncConnection, subscription: Subscription) -> Invoice | None:
    """Return the invoice to show the payer: a change's draft, else the one owed, else the newest.

    A draft counts only if it must be paid first: drafts of an unpaid time are not owed.
    """
    change = await pending_change(connection, subscription.id)
    return await invoice_store.to_pay(
        connection,
        subscription.id,
        first=change.invoice_id if change is not None else None,
        drafts=subscription.status == "incomplete",
    )


async def given_back(
    connection: AsyncConnection, subscription: Subscription
) -> RestReturned | None:
    """Return the money that the end gave back, and where it is now; None: nothing."""
    if subscription.ended_at is None:
        return None
    row = await _GIVEN_BACK.first(connection, subscription_id=subscription.id)
    return RestReturned.model_validate(dict(row)) if row is not None else None


async def charged_in(connection: AsyncConnection, account_id: UUID) -> str | None:
    """Return the currency in which a subscription of the account will charge a card again.

    None: no card is needed, as in a trial, in a pause, or where invoices are sent.
    """
    currency: str | None = await _CHARGED_IN.scalar(
        connection, account_id=account_id, running=[*RUNNING]
    )
    return currency


def show(row: Fields) -> Subscription:
    """Return a row as a subscription."""
    return Subscription.model_validate(dict(row))


async def open_usage_period(connection: AsyncConnection, *, account_id: UUID, at: datetime) -> None:
    """Have the account's usage period follow its subscription."""
    await usage_store.follow(connection, account_id, at)
    await failpoint("renewal.in_transaction")
