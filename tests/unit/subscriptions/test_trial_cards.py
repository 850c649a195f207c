"""A trial that ends needs a card that may be tried."""

from dataclasses import replace
from random import Random

import pytest

from billing.matters.effects import Work
from billing.money.payments import transitions as payments
from billing.money.payments.card_rules import MAX_ATTEMPTS_PER_CARD
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.transitions import end_trial
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
