"""A try that ended without money uses up its slot, whatever the provider calls that end."""

from random import Random

import pytest

from billing.money.dunning.schemas import DunningCase
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
