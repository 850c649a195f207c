"""A debt is forgiven once it is known that no payment brings its money."""

from random import Random

import pytest

from billing.core.errors import Conflict
from billing.money.dunning import cases
from billing.money.invoices.schemas import BalanceEntry
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
