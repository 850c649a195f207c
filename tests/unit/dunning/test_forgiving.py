"""A debt is forgiven once it is known that no payment brings its money."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest

from billing.core.errors import Conflict
from billing.matters.effects import Work
from billing.money.collecting.transitions import charge
from billing.money.dunning import cases
from billing.money.invoice_requests import corrections
from billing.money.invoices.schemas import BalanceEntry
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed
from tests.unit.lives.collections import Life
from tests.unit.lives.told import Told


def test_a_charge_on_its_way_comes_before_the_forgiveness() -> None:
    life = Life(Random(0))
    life.new_card()
    life.bank = Told(("waiting", "processing", "declined"))
    for _ in range(2):
        step = life.next_step()
        assert step is not None
        if step.name == "check":
            with pytest.raises(Conflict) as refused:
                cases.forgive(life.work(), life.invoice_id, "goodwill")
            assert refused.value.code == "PAYMENT_PENDING"
        life.do(step)
    cases.forgive(life.work(), life.invoice_id, "goodwill")
    assert (life.invoice.status, life.invoice.settlement) == ("paid", "forgiven")
    assert life.rows.of(BalanceEntry) == [], "no money came for it"


@pytest.mark.parametrize(
    "verb",
    [
        partial(cases.forgive, reason="goodwill"),
        partial(corrections.void, reason="wrong"),
        partial(corrections.mark_uncollectible, reason="gone"),
    ],
)
def test_a_reported_transfer_that_waits_for_the_end_of_the_cards_payment_comes_first(
    verb: Callable[[Work[Any], UUID], None],
) -> None:
    life = Life(Random(0))
    life.new_card()
    life.bank = Told(("waiting", "declined"))
    step = life.next_step()
    assert step is not None
    life.do(step)
    payments.open_flow(life.work(), Owed(life.rows, life.invoice_id), "manual", None)
    with pytest.raises(Conflict) as refused:
        verb(life.work(), life.invoice_id)
    assert refused.value.code == "PAYMENT_PENDING"


def test_a_card_that_is_being_tried_comes_before_the_forgiveness() -> None:
    life = Life(Random(0))
    life.new_card()
    step = life.next_step()
    assert step is not None
    charge(life.work(), Owed(life.rows, life.invoice_id), step)
    with pytest.raises(Conflict) as refused:
        cases.forgive(life.work(), life.invoice_id, "goodwill")
    assert refused.value.code == "PAYMENT_PENDING"
    cases.forgive(life.work(), life.invoice_id, "goodwill", tries=False)
    assert life.invoice.settlement == "forgiven", "its matter is halted"
