"""A decision reckons with rows as they stand after its own effects."""

from random import Random

import pytest

from billing.matters.effects import LostUpdate
from tests.unit.lives.collections import Life


def test_what_was_written_since_a_row_was_read_is_not_overwritten() -> None:
    life = Life(Random(0))
    w, read = life.work(), life.invoice
    paid = w.change(read, amount_paid_minor=100)
    with pytest.raises(LostUpdate, match=r"Invoice\.amount_paid_minor"):
        w.change(read, amount_paid_minor=read.amount_paid_minor + 50)
    assert w.change(paid, amount_paid_minor=paid.amount_paid_minor + 50).amount_paid_minor == 150


def test_other_fields_and_the_value_that_is_there_may_be_written_by_the_row_that_was_read() -> None:
    life = Life(Random(0))
    w, read = life.work(), life.invoice
    w.change(read, amount_paid_minor=100)
    changed = w.change(read, amount_paid_minor=100, pay_requests=1)
    assert (changed.amount_paid_minor, changed.pay_requests) == (100, 1)


def test_a_number_is_not_given_to_what_has_changed_since() -> None:
    life = Life(Random(0))
    w, read = life.work(), life.invoice
    w.change(read, status="void")
    with pytest.raises(LostUpdate, match=r"Invoice\.status"):
        w.issue(read, "INV", status="paid")
