"""A purchase whose payment the provider does not open: its buyer reads words of ours."""

import pytest

from billing.matters.effects import Work
from billing.money.payments.calls import Answer
from billing.money.payments.rules import CARDS_GONE, CUSTOMER_GONE, PROVIDER_REFUSED, Decline
from billing.money.payments.schemas import Attempt, Payment
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.schemas import Purchase
from tests.unit.lives.collections import BIRTH
from tests.unit.purchases.test_declined_purchases import Buying

WORDS = "Stripe refused the request: Your account cannot currently make live charges."


def unopened(flow: str, why: Decline) -> Buying:
    """One that the provider refuses to open."""
    buying = Buying(flow=flow)
    plan = ENGINE.rules.plan(buying.rows, buying.facts())
    step = next(one for one in plan if one.name == "open")
    asked = Work(buying.rows, buying.facts())
    ENGINE.rules.transition(asked, step)
    assert asked.call is not None
    answered = buying.facts(Answer(asked.call, None, BIRTH, refusal=why))
    ENGINE.rules.transition(Work(buying.rows, answered), step)
    return buying


@pytest.mark.parametrize("flow", ["card", "saved_card", "checkout", "paypal"])
def test_the_providers_words_are_the_payments_and_not_the_purchases(flow: str) -> None:
    buying = unopened(flow, Decline(code=PROVIDER_REFUSED, message=WORDS))
    (purchase,), (payment,) = buying.rows.of(Purchase), buying.rows.of(Payment)
    assert (purchase.status, purchase.failure_code, purchase.failure_message) == (
        "failed", "PLATFORM_ERROR", "the payment provider did not open a payment",
    )  # fmt: skip
    assert (payment.status, payment.failure_code) == ("failed", "provider_refused")
    assert payment.failure_message == WORDS, "operators read it"


def test_a_card_that_went_with_its_customer_says_so() -> None:
    buying = unopened("saved_card", Decline(code=CUSTOMER_GONE, message=CARDS_GONE))
    (purchase,), (tried,) = buying.rows.of(Purchase), buying.rows.of(Attempt)
    assert (purchase.failure_code, purchase.failure_message) == (CUSTOMER_GONE, CARDS_GONE)
    assert (tried.status, tried.decline_class) == ("declined", "hard")
