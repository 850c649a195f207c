"""A debt is forgiven once it is known that no payment brings its money."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final
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

ALL_CREDITED: Final = partial(
    corrections.credit, amount=4900, lines=(), reason="goodwill", to="debt", suffix="note",
    tries=True,
)  # fmt: skip


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
        ALL_CREDITED,
        partial(ALL_CREDITED, lines=({"position": 1, "amount_minor": 4900},)),
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


@pytest.mark.parametrize("verb", [partial(cases.forgive, reason="goodwill"), ALL_CREDITED])
def test_a_card_that_is_being_tried_comes_before_the_forgiveness(
    verb: Callable[..., object],
) -> None:
    life = Life(Random(0))
    life.new_card()
    step = life.next_step()
    assert step is not None
    charge(life.work(), Owed(life.rows, life.invoice_id), step)
    with pytest.raises(Conflict) as refused:
        verb(life.work(), life.invoice_id)
    assert refused.value.code == "PAYMENT_PENDING"
    verb(life.work(), life.invoice_id, tries=False)
    assert life.invoice.settlement == "forgiven", "its matter is halted"


def test_so_it_does_before_a_note_that_leaves_too_little_for_a_card() -> None:
    """The rest would be carried, and the card would pay for what was credited."""
    life = Life(Random(0))
    life.new_card()
    step = life.next_step()
    assert step is not None
    charge(life.work(), Owed(life.rows, life.invoice_id), step)
    with pytest.raises(Conflict) as refused:
        ALL_CREDITED(life.work(), life.invoice_id, amount=4880)
    assert refused.value.code == "PAYMENT_PENDING"
    ALL_CREDITED(life.work(), life.invoice_id, amount=4800)
    assert (life.invoice.status, life.invoice.remaining_minor) == ("open", 100)
