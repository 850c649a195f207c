"""A trial that ends needs a card that may be tried."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from billing.core import periods
from billing.matters.effects import Announce, Work
from billing.money.contracts.schemas import Contract, ContractPrice, ContractTerms
from billing.money.payment_methods.rules import valid_until
from billing.money.payments import transitions as payments
from billing.money.payments.card_rules import MAX_ATTEMPTS_PER_CARD
from billing.money.subscriptions import expiring_cards
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Item, Subscription
from billing.money.subscriptions.terms import new_terms, scheduling
from billing.money.subscriptions.transitions import end_trial
from billing.money.subscriptions.views import view
from tests.unit.lives.subscriptions import SubscriptionLife


@pytest.mark.parametrize(
    ("declines", "behavior", "result"),
    [
        (MAX_ATTEMPTS_PER_CARD, "cancel", "canceled"),
        (MAX_ATTEMPTS_PER_CARD, "pause", "paused"),
        (MAX_ATTEMPTS_PER_CARD - 1, "cancel", "invoice"),
    ],
)
def test_a_trial_whose_card_was_declined_too_often_ends_as_one_without_a_card(
    declines: int, behavior: str, result: str
) -> None:
    life = SubscriptionLife(Random(0))
    life.new_card()
    card = payments.default_card(life.rows)
    assert card is not None
    subscription = life.rows.get(Subscription, life.subscription_id)
    life.now = subscription.current_period_end
    life.work().change(
        subscription, status="trialing", period_number=-1, trial_end_behavior=behavior
    )
    w = Work(life.rows, replace(life.facts(life.rows), declines={card.id: declines}))
    end_trial(w)
    assert (w.result or "").split()[0] == result


def free_plan(pieces: int, *, next_pieces: int | None = None) -> SubscriptionLife:
    """A trial, at its end, of a plan that costs nothing, with so many pieces of an add-on."""
    life = SubscriptionLife(Random(0))
    subscription = life.rows.get(Subscription, life.subscription_id)
    life.now = subscription.current_period_end
    w = life.work()
    w.change(
        subscription, status="trialing", period_number=-1, trial_end_behavior="cancel",
        amount_minor=0,
    )  # fmt: skip
    w.change(life.plan_item, amount_minor=0)
    if pieces:
        w.add(
            Item(
                id=life.new_id(), account_id=life.account_id, subscription_id=subscription.id,
                kind="add_on", description="Seats", quantity=pieces, next_quantity=next_pieces,
                amount_minor=900, add_on="seats",
            )
        )  # fmt: skip
    return life


@pytest.mark.parametrize(
    ("pieces", "next_pieces", "result"),
    [(0, None, "invoice"), (2, None, "canceled"), (2, 0, "invoice")],
)
def test_a_trial_without_a_card_ends_where_its_add_ons_cost_something(
    pieces: int, next_pieces: int | None, result: str
) -> None:
    life = free_plan(pieces, next_pieces=next_pieces)
    for card in payments.cards(life.rows):
        life.work().change(card, barred_at=life.now)
    w = Work(life.rows, life.facts(life.rows))
    end_trial(w)
    assert (w.result or "").split()[0] == result


@pytest.mark.parametrize(("pieces", "told"), [(0, None), (2, 1800)])
def test_a_card_that_ends_is_told_of_where_it_pays_for_add_ons_alone(
    pieces: int, told: int | None
) -> None:
    life = free_plan(pieces)
    life.new_card()
    ends_before_its_charge(life)
    assert notices(life, life.facts(life.rows)) == ([told] if told is not None else [])


def ends_before_its_charge(life: SubscriptionLife) -> None:
    card = payments.default_card(life.rows)
    assert card is not None
    charged_at = periods.to_wall(life.now, life.subscription.zone)
    ends = charged_at.replace(day=1) - timedelta(days=1)
    life.work().change(card, exp_year=ends.year, exp_month=ends.month)


def notices(life: SubscriptionLife, facts: SubscriptionFacts) -> list[int]:
    """Return the prices of the notices, if the agenda has one."""
    if view(life.rows, facts).expiring is None:
        return []
    w = Work(life.rows.copy(), facts)
    expiring_cards.notify(w)
    return [one.facts["price_cents"] for one in w.effects if isinstance(one, Announce)]


@pytest.mark.parametrize(("days", "told"), [(-1, []), (0, [1800]), (1, [1800])])
def test_a_card_that_lives_up_to_the_very_instant_of_its_charge_is_told_of(
    days: int, told: list[int]
) -> None:
    life = free_plan(2)
    life.new_card()
    ends_before_its_charge(life)
    card, row = payments.default_card(life.rows), life.rows.get(Subscription, life.subscription_id)
    assert card is not None
    until = valid_until(card, row.zone)
    assert until is not None
    life.work().change(row, current_period_end=until + timedelta(days=days))
    assert notices(life, life.facts(life.rows)) == told


def test_a_card_that_ends_is_told_of_at_the_price_scheduled_or_agreed_for_the_renewal() -> None:
    life = free_plan(0)
    life.new_card()
    ends_before_its_charge(life)
    w = Work(life.rows, life.facts(life.rows))
    dearer = new_terms.of_now(w).model_copy(update={"price_id": life.new_id(), "unit_minor": 5900})
    scheduling.schedule(w, life.new_id(), "price", {"price_cents": 5900}, dearer)
    facts = life.facts(life.rows)
    assert notices(life, facts) == [5900]
    assert notices(life, replace(facts, contracts=(agreed(life, 3000),))) == [3000]
    assert notices(life, replace(facts, contracts=(agreed(life, 0),))) == []


def agreed(life: SubscriptionLife, amount_minor: int) -> Contract:
    row = life.rows.get(Subscription, life.subscription_id)
    price = ContractPrice(
        price_id=life.new_id(), plan=row.plan_key, interval=row.interval, currency=row.currency,
        amount_minor=amount_minor,
    )  # fmt: skip
    return Contract(
        id=life.new_id(), account_id=life.account_id, terms=ContractTerms(prices=(price,)),
        effective_from=life.now, created_at=life.now,
    )  # fmt: skip
