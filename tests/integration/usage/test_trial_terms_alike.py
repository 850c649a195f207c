"""The database knows the terms after a trial exactly where the step that ends it needs no card."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as plans
from billing.core import ids
from billing.core.periods import MONTH
from billing.matters.agenda import Step
from billing.matters.effects import Work
from billing.money.contracts.tables import contracts
from billing.money.payment_methods.tables import payment_methods
from billing.money.subscriptions.reading import read
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.schemas import Terms
from billing.money.subscriptions.tables import (
    subscription_changes,
    subscription_items,
    subscriptions,
)
from billing.money.subscriptions.transitions import end_trial
from billing.money.subscriptions.views import view
from billing.platform.decisions.service import Read
from tests.integration.catalog.subscribing import END, START
from tests.integration.usage.conftest import Shop
from tests.searching import examples

PRICES: Final = st.sampled_from([0, 1900])
MINIMUMS: Final = st.sampled_from([None, 5000])


class Sold(NamedTuple):
    """The price that a scheduled change brings."""

    unit_minor: int
    minimum_minor: int | None


class Agreed(NamedTuple):
    """A contract that is to come into force with the paid period."""

    has_price: bool
    collection: str | None


class Cards(NamedTuple):
    """Saved cards; True: it is barred."""

    default: bool
    backup: bool | None
    other: bool | None


class Trial(NamedTuple):
    """All that the end of a trial depends on."""

    behavior: str = "cancel"
    price: int = 1900
    minimum: int | None = None
    end: str | None = None
    collection: str = "charge"
    contract: Agreed | None = None
    plan: Sold | None = None
    move: Sold | None = None
    seats_left: int | None = None
    """Of an add-on; None: it has none."""
    add_ons: int | None = None
    """The scheduled quantity; None: no such change is."""
    cards: Cards | None = None


SALES: Final = st.none() | st.builds(Sold, PRICES, MINIMUMS)
TRIALS: Final = st.builds(
    Trial,
    behavior=st.sampled_from(["cancel", "pause", "invoice"]),
    price=PRICES,
    minimum=MINIMUMS,
    end=st.sampled_from([None, "period", "before", "after"]),
    collection=st.sampled_from(["charge", "send_invoice"]),
    contract=st.none()
    | st.builds(Agreed, st.booleans(), st.sampled_from([None, "charge", "send_invoice"])),
    plan=SALES,
    move=SALES,
    seats_left=st.sampled_from([None, 0, 1]),
    add_ons=st.sampled_from([None, 0, 1]),
    cards=st.none()
    | st.builds(Cards, st.booleans(), st.none() | st.booleans(), st.none() | st.booleans()),
)


@settings(max_examples=examples(150))
@given(trial=TRIALS)
@example(Trial())
@example(Trial(price=0))
async def test_terms_are_known_where_the_step_needs_no_card(basic_shop: Shop, trial: Trial) -> None:
    async with basic_shop.api.database.operator() as connection:
        await _compare(connection, basic_shop.id, trial)
        await connection.rollback()


async def _compare(connection: AsyncConnection, account_id: UUID, trial: Trial) -> None:
    subscription_id = await _begin(connection, account_id, trial)
    await _schedule(connection, account_id, subscription_id, trial)
    if trial.contract is not None:
        await _agree(connection, account_id, trial.contract)
    if trial.cards is not None:
        await _save(connection, account_id, trial.cards)
    until = await connection.scalar(text("SELECT usage_terms_known_until(:id)"), {"id": account_id})
    ends = await _ends(connection, subscription_id)
    assert until in (None, END)
    # The database counts any price that is agreed, and add-ons that another choice ends.
    has_price = trial.contract is not None and trial.contract.has_price
    may_end = trial.plan is not None or trial.add_ons is not None
    if ends or not (has_price or (may_end and (trial.seats_left or trial.add_ons))):
        assert (until is not None) == ends


async def _ends(connection: AsyncConnection, subscription_id: UUID) -> bool:
    """True if the trial ends without a paid period because there is no card."""
    step = Step(name="end_trial", due=END, key="end")
    rows, facts = await read(connection, Read(subscription_id, deciding=True, step=step))
    last = agenda(view(rows, facts))[-1]
    if last.name != "end_trial":
        return False
    w = Work(rows, replace(facts, at=END))
    end_trial(w)
    return w.result in ("paused", "canceled")


async def _begin(connection: AsyncConnection, account_id: UUID, trial: Trial) -> UUID:
    ends = {"before": END - timedelta(days=1), "after": END + timedelta(days=1)}
    found = await connection.execute(
        update(subscriptions)
        .where(subscriptions.c.account_id == account_id)
        .values(
            status="trialing", trial_end=END, trial_end_behavior=trial.behavior,
            amount_minor=trial.price, minimum_minor=trial.minimum, collection=trial.collection,
            days_until_due=14 if trial.collection == "send_invoice" else None,
            cancel_at_period_end=trial.end == "period", cancel_at=ends.get(trial.end or ""),
        )
        .returning(subscriptions.c.id, subscriptions.c.price_id)
    )  # fmt: skip
    row = found.one()
    item = {
        "id": ids.new(), "account_id": account_id, "subscription_id": row.id, "kind": "plan",
        "price_id": row.price_id, "description": "Basic", "quantity": 1,
        "amount_minor": trial.price,
    }  # fmt: skip
    await connection.execute(insert(subscription_items).values(item))
    if trial.seats_left is not None:
        add_on = {
            "id": ids.new(), "account_id": account_id, "subscription_id": row.id,
            "kind": "add_on", "description": "More", "quantity": 2, "amount_minor": 700,
            "next_quantity": trial.seats_left, "add_on": "ai-500", "meter": "ai_responses",
            "units": 500,
        }  # fmt: skip
        await connection.execute(insert(subscription_items).values(add_on))
    return UUID(str(row.id))


async def _schedule(
    connection: AsyncConnection, account_id: UUID, subscription_id: UUID, trial: Trial
) -> None:
    coming: dict[str, dict[str, Any]] = {"add_ons": {}} if trial.add_ons is not None else {}
    for kind, plan, sold in (("plan", "pro", trial.plan), ("price", "basic", trial.move)):
        if sold is not None:
            coming[kind] = await _terms(connection, plan, sold)
    for kind, terms in coming.items():
        change = {
            "id": ids.new(), "account_id": account_id, "subscription_id": subscription_id,
            "kind": kind, "wanted": {"ai-500": trial.add_ons} if kind == "add_ons" else {},
            "terms": terms, "status": "scheduled",
            "effective_at": END, "created_at": START,
        }  # fmt: skip
        await connection.execute(insert(subscription_changes).values(change))


async def _terms(connection: AsyncConnection, key: str, sold: Sold) -> dict[str, Any]:
    plan = await plans.find_plan(connection, key)
    price = await plans.plan_price(connection, key, "USD", MONTH)
    assert plan is not None
    assert price is not None
    terms = Terms(
        plan_id=plan.id, price_id=price.id, unit_minor=sold.unit_minor, interval=MONTH, quantity=1,
        minimum_minor=sold.minimum_minor,
    )  # fmt: skip
    return terms.model_dump(mode="json")


async def _agree(connection: AsyncConnection, account_id: UUID, agreed: Agreed) -> None:
    price = {
        "price_id": str(ids.new()), "plan": "basic", "interval": MONTH.model_dump(mode="json"),
        "currency": "USD", "amount_minor": 900,
    }  # fmt: skip
    sent = {"net_days": 14} if agreed.collection == "send_invoice" else {}
    terms = {"prices": [price] * agreed.has_price, "collection": agreed.collection} | sent
    contract = {
        "id": ids.new(), "account_id": account_id, "terms": terms, "effective_from": END,
        "created_at": START,
    }  # fmt: skip
    await connection.execute(insert(contracts).values(contract))


async def _save(connection: AsyncConnection, account_id: UUID, cards: Cards) -> None:
    for name, is_barred in cards._asdict().items():
        if is_barred is not None:
            row = {
                "id": ids.new(), "account_id": account_id, "created_at": START, "chosen_at": START,
                "stripe_payment_method_id": f"pm_{ids.new()}", "provider_kind": "card",
                "is_default": name == "default", "is_backup": name == "backup",
                "barred_at": START if is_barred else None,
            }  # fmt: skip
            await connection.execute(insert(payment_methods).values(row))
