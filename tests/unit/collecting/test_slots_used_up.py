"""A try that ended without money uses up its slot, whatever the provider calls that end."""

from datetime import timedelta
from random import Random

import pytest

from billing.money.dunning.schemas import DunningCase
from billing.money.payments.rules import CHARGE_REFUSED, Decline, Outcome
from billing.money.payments.schemas import Attempt
from tests.unit.collecting.told_debts import Debt
from tests.unit.lives.collections import BIRTH, Life
from tests.unit.lives.told import Told


def live(*answers: str, looks: str | None = None) -> tuple[Life, list[str]]:
    """A collection at this bank until it ends; the keys of its steps but the checks."""
    life = Life(Random(0))
    life.new_card()
    life.bank = bank = Told(answers, looks)
    steps: list[str] = []
    while (step := life.next_step()) is not None and len(steps) < 50:
        life.do(step)
        life.hold_true()
        steps.append(step.key.partition("/")[2])
    assert bank.answers == [], "the bank was not asked all that was expected"
    return life, [one for one in steps if not one.startswith("check")]


@pytest.mark.parametrize("end", ["canceled", "declined"])
def test_a_bank_that_lets_a_payment_go_has_not_paid(end: str) -> None:
    reopened = ["waiting"] * (end == "canceled")
    life, steps = live(
        "waiting", "processing", end, *reopened, "processing", end, *reopened, "declined",
        "canceled",
    )  # fmt: skip
    assert steps == ["attempt-0", "attempt-1", "attempt-2", "give-up"]
    assert life.invoice.status == "uncollectible"
    (case,) = life.rows.of(DunningCase)
    assert (case.status, case.last_slot) == ("exhausted", 2)


def test_a_payer_who_is_asked_but_not_there_has_not_paid() -> None:
    life, steps = live("waiting", "action", "declined", "declined", "canceled", looks="action")
    assert steps == ["attempt-0", "attempt-1", "attempt-2", "give-up"]
    (case,) = life.rows.of(DunningCase)
    assert case.opened_at == BIRTH


def test_what_the_payer_finishes_after_all_ends_the_case() -> None:
    life, steps = live("waiting", "action", "action", "succeeded")
    assert steps == ["attempt-0"]
    (case,) = life.rows.of(DunningCase)
    assert (life.invoice.status, case.status) == ("paid", "recovered")


def with_new_card(*answers: str) -> tuple[Life, list[str]]:
    """A declined debt whose payer saves a card, until its next slot; the steps since then."""
    life = Life(Random(0))
    life.new_card()
    life.bank = bank = Told(("waiting", "declined", *answers))
    steps: list[str] = []
    while (step := life.next_step()) is not None and step.slot != 1:
        life.do(step)
        life.hold_true()
        steps.append(step.key.partition("/")[2].replace(step.method or "", "mth"))
        if len(steps) == 1:
            life.now += timedelta(hours=1)
            life.new_card()
    assert bank.answers == [], "the bank was not asked all that was expected"
    return life, steps[1:]


def test_a_new_card_that_was_never_reached_is_tried_until_the_provider_answers() -> None:
    life, steps = with_new_card("unreached", "unreached", "succeeded")
    assert steps == ["card-mth", "card-mth/again-1", "card-mth/again-2"]
    assert life.invoice.status == "paid"
    assert life.now == BIRTH + timedelta(hours=3)


def test_a_slot_whose_charge_the_provider_refuses_for_a_day_is_used_up() -> None:
    why = Decline(code=CHARGE_REFUSED, message="Your account cannot currently make live charges.")
    refused = Outcome(kind="unreached", intent_id="pi_1", decline=why)
    debt = Debt("waiting", *[refused] * 24, "succeeded")
    debt.go()
    again = [f"attempt-0/again-{number}" for number in range(1, 25)]
    assert debt.steps == ["attempt-0", *again, "attempt-1"]
    assert [one.decline_code for one in debt.rows.of(Attempt)][23:] == [
        CHARGE_REFUSED, "provider_down", None,
    ]  # fmt: skip
    assert debt.invoice.status == "paid"


def test_a_new_card_that_was_declined_is_not_tried_again() -> None:
    _, steps = with_new_card("unreached", "declined")
    assert steps == ["card-mth", "card-mth/again-1"]


def test_a_new_card_waits_for_the_provider_for_a_day_at_most() -> None:
    life, steps = with_new_card(*["unreached"] * 24)
    assert steps[-1] == "card-mth/again-24"
    assert life.rows.of(Attempt)[-1].decline_code == "provider_down"
