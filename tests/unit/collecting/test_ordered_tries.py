"""A try that reached no card is made again at once where an operator orders it."""

from datetime import timedelta

from billing.money.collecting import again
from billing.money.dunning import cases
from billing.money.payment_methods.schemas import Method
from billing.money.payments.rules import CHARGE_REFUSED, Decline, Outcome
from billing.money.payments.schemas import Attempt
from tests.unit.collecting.told_debts import Debt, declined
from tests.unit.lives.collections import BIRTH

UNREACHED = Outcome(kind="unreached", intent_id="pi_1")


def order(debt: Debt) -> bool:
    w = debt.work()
    return again.try_now(w, debt.invoice.id, debt.rules.plan(w.rows, w.facts))


def is_ordered(debt: Debt) -> bool:
    w = debt.work()
    return again.is_ordered(w, debt.invoice.id, debt.rules.plan(w.rows, w.facts))


def test_it_has_the_key_that_it_would_have_at_its_hour_and_is_due_once() -> None:
    debt = Debt("waiting", UNREACHED, UNREACHED, "succeeded")
    debt.go(until="attempt-0")
    planned = debt.next_step()
    assert planned is not None
    assert planned.due == BIRTH + timedelta(hours=1)

    assert order(debt)

    ordered = debt.next_step()
    assert ordered == planned.model_copy(update={"due": BIRTH})
    assert not order(debt), "it is due"
    assert is_ordered(debt)
    debt.go(until="attempt-0/again-1")
    assert not is_ordered(debt), "it was made"
    hourly = debt.next_step()
    assert hourly is not None
    assert hourly.due == BIRTH + timedelta(hours=1), "one order is one try"
    debt.go()
    assert debt.invoice.status == "paid"
    assert not order(debt)


def test_orders_use_up_no_slot() -> None:
    why = Decline(code=CHARGE_REFUSED, message="Your account cannot currently make live charges.")
    refused = Outcome(kind="unreached", intent_id="pi_1", decline=why)
    debt = Debt("waiting", *[refused] * 34, "succeeded")
    debt.go(until="attempt-0")
    for number in range(1, 11):
        assert order(debt)
        debt.go(until=f"attempt-0/again-{number}")
    debt.go()
    again_after = [f"attempt-0/again-{number}" for number in range(1, 35)]
    assert debt.steps == ["attempt-0", *again_after, "attempt-1"]
    tries = debt.rows.of(Attempt)
    assert tries[-2].decline_code == "provider_down"
    assert tries[-2].started_at == BIRTH + timedelta(hours=24)


def test_neither_what_reached_a_card_nor_what_is_held_back_is_tried() -> None:
    debt = Debt("waiting", declined("ch_1"), UNREACHED)
    debt.go(until="attempt-0")
    assert not order(debt), "the bank has answered"
    debt.go(until="attempt-1")
    w = debt.work()
    cases.extend(w, debt.invoice.id, days=2)
    assert not order(debt), "an operator has postponed it"
    debt = Debt("waiting", declined("ch_1"), UNREACHED)
    debt.go(until="attempt-1")
    w = debt.work()
    cases.pause(w, debt.invoice.id)
    assert not order(debt), "an operator has paused it"


def test_a_requested_try_is_made_once_and_an_order_says_that_none_waits() -> None:
    debt = Debt("waiting", declined("ch_1"), UNREACHED)
    debt.go(until="attempt-0")
    debt.ask()
    debt.go(until="now-1")
    planned = debt.next_step()

    assert not order(debt), "its payer may ask again"

    assert debt.next_step() == planned
    assert debt.rows.of(Attempt)[-1].again_at is None


def test_a_requested_try_counts_as_the_last_for_the_slot_that_waits() -> None:
    debt = Debt("waiting", UNREACHED, UNREACHED, "succeeded")
    debt.go(until="attempt-0")
    debt.ask()
    debt.go(until="now-1")
    planned = debt.next_step()
    assert planned is not None
    assert planned.due == debt.now + timedelta(hours=1)

    assert order(debt)

    assert debt.next_step() == planned.model_copy(update={"due": debt.now})


def test_a_card_that_is_no_longer_the_chosen_one_is_not_tried() -> None:
    debt = Debt("waiting", declined("ch_1"), UNREACHED, UNREACHED)
    debt.go(until="attempt-0")
    debt.now += timedelta(hours=1)
    debt.choose()
    debt.go(until="card-mth")
    assert order(debt), "the new card's try waits for its hour"
    debt.go(until="card-mth/again-1")
    (card,) = debt.rows.of(Method)
    debt.work().change(card, status="removed", is_default=False)
    assert not order(debt), "there is no card"
