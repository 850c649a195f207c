"""Every query on subscriptions and their items."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, null, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.schemas import AddOn
from billing.core import ids, prepared
from billing.core.errors import NotFound
from billing.core.matters import workflow_id
from billing.core.money import show_money
from billing.core.prepared import Fields, Prepared, given
from billing.dunning import store as dunning
from billing.dunning.tables import dunning_cases
from billing.events.tables import WAITING_MARKS
from billing.invoices.tables import invoices
from billing.subscriptions.rules import SubscriptionState, words
from billing.subscriptions.schemas import Item, Subscription
from billing.subscriptions.tables import OPEN_STATUSES, subscription_items, subscriptions

_STATE = f"""
SELECT s.*, a.clock_at, p.name AS plan_name, t.threshold_at, t.start_at AS threshold_cycle,
       t.threshold_number,
       {WAITING_MARKS} AS events
FROM subscriptions s
JOIN accounts a ON a.id = s.account_id
JOIN plans p ON p.id = s.plan_id
LEFT JOIN usage_periods t
       ON t.account_id = s.account_id AND t.threshold_at IS NOT NULL AND t.closed_at IS NULL
      AND t.subscription_id = s.id
WHERE s.id = :subscription_id
"""  # noqa: S608 - put together from constants
_READ_STATE = Prepared(text(_STATE))
_LOCK_STATE = Prepared(text(_STATE + "FOR NO KEY UPDATE OF s"))
_OF_ID = select(subscriptions).where(subscriptions.c.id == given("subscription_id"))
_GET = Prepared(_OF_ID)
_LOCK = Prepared(_OF_ID.with_for_update(key_share=True))
_OPEN = select(subscriptions).where(
    subscriptions.c.account_id == given("account_id"), subscriptions.c.status.in_(OPEN_STATUSES)
)
_FIND_OPEN = Prepared(_OPEN)
_LOCK_OPEN = Prepared(_OPEN.with_for_update(key_share=True))
_CURRENT = Prepared(
    select(subscriptions)
    .where(subscriptions.c.account_id == given("account_id"))
    .order_by(subscriptions.c.status.in_(OPEN_STATUSES).desc(), subscriptions.c.created_at.desc())
    .limit(1)
)
_WHOSE_ITEMS = subscription_items.c.subscription_id == given("subscription_id")
_DROP_ENDED = Prepared(
    delete(subscription_items).where(_WHOSE_ITEMS, subscription_items.c.next_quantity == 0)
)
_TURN_ITEMS = Prepared(
    update(subscription_items)
    .where(_WHOSE_ITEMS, subscription_items.c.next_quantity.is_not(None))
    .values(quantity=subscription_items.c.next_quantity, next_quantity=null())
)
_ITEMS = Prepared(
    select(subscription_items)
    .where(subscription_items.c.subscription_id == given("subscription_id"))
    .order_by(subscription_items.c.id)
)


async def add(
    connection: AsyncConnection, row: dict[str, Any], items: list[dict[str, Any]]
) -> Subscription:
    """Write a subscription with its items; one open per account is kept by the database."""
    subscription = show(await prepared.add(connection, subscriptions, row))
    whose = {"account_id": row["account_id"], "subscription_id": row["id"]}
    for item in items:
        await prepared.add(connection, subscription_items, item | whose | {"id": ids.new()})
    return subscription


async def get(
    connection: AsyncConnection, subscription_id: UUID, *, lock: bool = False
) -> Subscription:
    """One subscription, optionally locked; SUBSCRIPTION_NOT_FOUND."""
    row = await (_LOCK if lock else _GET).first(connection, subscription_id=subscription_id)
    if row is None:
        raise NotFound("SUBSCRIPTION_NOT_FOUND", "no such subscription")
    return show(row)


async def find_open(
    connection: AsyncConnection, account_id: UUID, *, lock: bool = False
) -> Subscription | None:
    """The account's one open subscription."""
    row = await (_LOCK_OPEN if lock else _FIND_OPEN).first(connection, account_id=account_id)
    return show(row) if row else None


async def find_current(connection: AsyncConnection, account_id: UUID) -> Subscription | None:
    """The open one, else the newest that ended."""
    row = await _CURRENT.first(connection, account_id=account_id)
    return show(row) if row else None


async def change(connection: AsyncConnection, subscription_id: UUID, **fields: Any) -> Subscription:
    """Overwrite fields of one subscription; `updated_at` is among them."""
    return show(await prepared.change(connection, subscriptions, subscription_id, **fields))


async def items(connection: AsyncConnection, subscription_id: UUID) -> list[Item]:
    """What is paid for: the plan, seats, add-ons."""
    rows = await _ITEMS.all(connection, subscription_id=subscription_id)
    return [Item.model_validate(dict(row)) for row in rows]


async def add_ons(connection: AsyncConnection, subscription_id: UUID) -> list[Item]:
    """The add-ons among them."""
    return [item for item in await items(connection, subscription_id) if item.add_on is not None]


async def put_add_on(
    connection: AsyncConnection, subscription: Subscription, add_on: AddOn, quantity: int
) -> None:
    """Have so many of an add-on from now on."""
    row = {
        "id": ids.new(), "account_id": subscription.account_id, "subscription_id": subscription.id,
        "kind": "add_on", "description": add_on.name, "quantity": quantity,
        "next_quantity": None, "amount_minor": add_on.prices[subscription.currency],
        "add_on": add_on.key, "meter": add_on.meter, "units": add_on.units,
    }  # fmt: skip
    await connection.execute(
        insert(subscription_items)
        .values(row)
        .on_conflict_do_update(
            index_elements=["subscription_id", "add_on"],
            set_={"quantity": quantity, "next_quantity": None},
        )
    )


async def set_next_quantity(
    connection: AsyncConnection, item_id: UUID, quantity: int | None
) -> None:
    """Have so many of an item from the next period on; None: as many as now."""
    await connection.execute(
        update(subscription_items)
        .where(subscription_items.c.id == item_id)
        .values(next_quantity=quantity)
    )


async def turn_items(connection: AsyncConnection, subscription_id: UUID) -> None:
    """A period begins: what was to end with the one before has ended."""
    await _DROP_ENDED.run(connection, subscription_id=subscription_id)
    await _TURN_ITEMS.run(connection, subscription_id=subscription_id)


async def overdue(connection: AsyncConnection, subscription_id: UUID) -> int:
    """How many open invoices have failed to be collected."""
    count = await connection.scalar(
        select(func.count())
        .select_from(invoices.join(dunning_cases, dunning_cases.c.invoice_id == invoices.c.id))
        .where(
            invoices.c.subscription_id == subscription_id,
            invoices.c.workflow_id == workflow_id("subscription", subscription_id),
            invoices.c.status == "open",
            dunning_cases.c.status.in_(["open", "paused", "exhausted"]),
        )
    )
    return int(count or 0)


def listing(account_id: UUID) -> Select[Any]:
    """All subscriptions the account ever had; order and cut are the caller's."""
    return select(subscriptions).where(subscriptions.c.account_id == account_id)


async def state(
    connection: AsyncConnection, subscription_id: UUID, *, lock: bool = False
) -> SubscriptionState:
    """The rows' word about one subscription, optionally under its lock."""
    matter = workflow_id("subscription", subscription_id)
    row = await (_LOCK_STATE if lock else _READ_STATE).first(
        connection, subscription_id=subscription_id, workflow_id=matter
    )
    if row is None:
        raise NotFound("SUBSCRIPTION_NOT_FOUND", "no such subscription")
    known = SubscriptionState(
        clock_at=row["clock_at"],
        status=row["status"],
        plan=row["plan_key"],
        subscription=ids.encode(ids.SUBSCRIPTION, subscription_id),
        current_period_end=row["current_period_end"],
        cycle_end=row["cycle_end"],
        trial_end=row["trial_end"],
        incomplete_expires_at=row["incomplete_expires_at"],
        superseded=row["superseded_at"] is not None,
        cancel_at_period_end=row["cancel_at_period_end"],
        threshold_at=row["threshold_at"],
        threshold=_threshold(row),
        invoices=await dunning.collecting(
            connection, matter, pay_first=row["status"] == "incomplete"
        ),
        events=tuple(row["events"]),
    )
    price = show_money(row["amount_minor"], row["currency"])
    return known.model_copy(update={"words": words(known, price, row["plan_name"], row["zone"])})


def _threshold(row: Fields) -> str | None:
    if row["threshold_at"] is None:
        return None
    return f"{row['threshold_cycle']:%Y-%m-%dT%H:%M:%SZ}-{row['threshold_number']}"


def show(row: Fields) -> Subscription:
    """A row as a subscription."""
    return Subscription.model_validate(dict(row))
