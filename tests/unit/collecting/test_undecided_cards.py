"""A try whose result is not known, and a card that was barred or removed meanwhile."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from billing.matters.effects import Work
from billing.money.collecting.collection import transition
from billing.money.dunning.schemas import DunningCase
from billing.money.payment_methods.schemas import Method
from billing.money.payments.schemas import Attempt
from tests.unit.lives.collections import BIRTH, Life
from tests.unit.lives.told import Told

LOST: list[dict[str, Any]] = [
    {"barred_at": BIRTH}, {"status": "detached", "is_default": False},
]  # fmt: skip


def undecided(*answers: str, **card: Any) -> tuple[Life, Told]:
    """A collection whose first try was written down, and whose card is changed then."""
    life = Life(Random(0))
    life.new_card()
    life.bank = bank = Told(["waiting", *answers])
    step = life.next_step()
    assert step is not None
    transition(Work(life.rows, life.facts(life.rows)), step)  # type: ignore[arg-type]
    (method,) = life.rows.of(Method)
    life.work().change(method, **card)
    return life, bank


@pytest.mark.parametrize("card", LOST)
def test_a_try_that_never_reached_a_lost_card_is_unreached(card: dict[str, Any]) -> None:
    life, bank = undecided("unreached", "canceled", **card)
    keys: list[str] = []
    while (step := life.next_step()) is not None:
        life.do(step)
        keys.append(step.key.partition("/")[2])
    assert bank.calls == ["open", "try_card", "call_back"], "no card is tried in the slots"
    assert keys == ["attempt-0", "attempt-0/again-1", "attempt-1", "attempt-2", "give-up"]
    tries = life.rows.of(Attempt)
    assert [one.status for one in tries] == ["unreached", "skipped", "skipped", "skipped"]
    (case,) = life.rows.of(DunningCase)
    assert case.status == "exhausted"


@pytest.mark.parametrize("card", LOST)
def test_a_try_that_was_paid_is_booked_whatever_its_card_is_now(card: dict[str, Any]) -> None:
    life, _ = undecided("succeeded", **card)
    step = life.next_step()
    assert step is not None
    life.do(step)
    assert (life.invoice.status, life.rows.of(DunningCase)) == ("paid", [])


@pytest.mark.parametrize("why", ["asked", "slot", "new card"])
def test_a_try_whose_result_is_not_known_is_late_since_it_was_due(why: str) -> None:
    life = Life(Random(0))
    life.new_card()
    life.bank = Told(["waiting", "declined"])
    first = life.next_step()
    assert first is not None
    life.do(first)
    life.now += timedelta(days=1)
    if why == "asked":
        life.ask()
    elif why == "new card":
        life.new_card()
    due = life.next_step()
    assert due is not None
    assert due.due >= BIRTH + timedelta(days=1)
    life.now = max(life.now, due.due) + timedelta(minutes=1)
    transition(Work(life.rows, life.facts(life.rows)), due)  # type: ignore[arg-type]
    life.now += timedelta(minutes=1)
    step = life.next_step()
    assert step is not None
    assert (step.key, step.due) == (due.key, due.due)
    assert step.words == "find out what became of the charge"
