"""Random lives of subscriptions keep their promises; thousands a minute, without a database."""

from datetime import timedelta
from functools import partial
from random import Random
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.catalog.plans.schemas import DunningPolicy
from billing.money.invoices.schemas import Invoice
from billing.money.payments.calls import Call
from billing.money.payments.rules import Outcome
from billing.money.subscriptions.commands import running
from tests.searching import examples
from tests.unit.lives.collections import LONG, Bank
from tests.unit.lives.subscriptions import SubscriptionLife

STEPS = 60
FLOOR = 500
"""Lives a minute; a quiet core lives more than 2,000, a slow one that the gate shares a quarter."""


def live(dice: Random, steps: int) -> SubscriptionLife:
    """One life of so many steps, commands and meddlings, held to its promises after each."""
    life = SubscriptionLife(dice)
    for _ in range(steps):
        step = life.next_step()
        if step is None and life.subscription.status == "paused" and dice.random() < 0.8:
            life.now += timedelta(days=dice.choice((0, 3, 40)))
            life.ask_of_it(partial(running.resume, paying=life.paying()))
            life.hold_true()
            continue
        if step is None:
            life.hold_true_at_the_end()
            break
        if dice.random() < 0.3:
            life.meddle()
        else:
            life.do(step)
        life.hold_true()
    else:
        end(life)
    return life


def end(life: SubscriptionLife) -> None:
    """Its customer cancels it, and time alone goes on, until no more than a bank is asked daily."""
    life.ask_of_it(partial(running.cancel, now=False))
    for _ in range(LONG):
        step = life.next_step()
        if step is None:
            life.hold_true_at_the_end()
            return
        life.do(step)
        life.hold_true()
    asked = life.next_step()
    assert asked is not None
    assert asked.name == "check", f"it goes on: {asked}"


@settings(max_examples=examples(100))
@given(st.randoms(use_true_random=False))
def test_whatever_time_people_and_banks_do_every_cent_and_use_is_billed_once(dice: Random) -> None:
    live(dice, STEPS)


def test_lives_are_cheap_enough_to_live_thousands() -> None:
    began = process_time()
    for seed in range(150):
        live(Random(seed), STEPS)
    assert 150 / (process_time() - began) * 60 >= FLOOR


class TiredBank(Bank):
    """It pays once, and declines from then on."""

    def answer(self, call: Call) -> Outcome:
        if call.what == "try_card" and self.took:
            return self.declined(call.payment.stripe_payment_intent_id or "")
        return super().answer(call)


def debtor(dice: Random) -> SubscriptionLife:
    """Somebody who owes a renewal, is locked out, and settles it at some later time."""
    life = SubscriptionLife(dice)
    life.bank = TiredBank(dice)
    life.plan = life.plan.model_copy(update={"dunning": DunningPolicy(final_action="unpaid")})
    settles_at = dice.choice((0, 1, 2))
    for _ in range(STEPS):
        drafts = [one for one in life.rows.of(Invoice) if one.status == "draft"]
        if life.subscription.status == "unpaid" and len(drafts) >= settles_at:
            for one in life.rows.of(Invoice):
                if one.status == "open":
                    life.ask_of_it(partial(life.forgive, invoice_id=one.id))
            life.hold_true()
            return life
        step = life.next_step()
        if step is None:
            break
        life.do(step)
        life.hold_true()
    return life


def test_a_debt_that_is_settled_late_begins_no_period_by_it() -> None:
    ends = [debtor(Random(seed)).subscription.status for seed in range(200)]
    assert ends.count("paused") > 10
    assert ends.count("active") > 10
