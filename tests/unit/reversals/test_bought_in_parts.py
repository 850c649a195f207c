"""A pack that two transfers pay for, of which one came before it had expired."""

from typing import Any

import pytest

from billing.money.invoices.schemas import Invoice
from tests.unit.reversals.sales import PRICE, Sale

FIRST, SECOND = 0, 1


def played(*acts: tuple[Any, ...], flow: str = "card") -> Sale:
    sale = Sale(flow)
    for name, *args in acts:
        sale.act(name, *args)
    return sale


def bought_late(first: int) -> Sale:
    """A pack that expired after a part of it had come, which paid for it with the rest."""
    return played(("pay", first), ("end",), ("pay", PRICE - first), flow="manual")


def test_the_rest_that_bought_it_late_takes_its_share_of_the_credits() -> None:
    sale = bought_late(600)
    assert sale.refund(FIRST) == 0, "the balance has paid for the pack with it"
    sale.act("refund", SECOND)
    assert (sale.noted, sale.balance) == (400, 0)
    draft, late = sale.rows.of(Invoice)
    assert (draft.amount_refunded_minor, late.amount_refunded_minor) == (0, 400)


@pytest.mark.parametrize("first", [400, 600])
@pytest.mark.parametrize("order", ["note rest", "rest note"])
def test_all_of_it_goes_back_once_a_note_has_put_the_first_part_on_the_balance(
    first: int, order: str
) -> None:
    sale = bought_late(first)
    for one in order.split():
        sale.act(*(("note", first) if one == "note" else ("refund", SECOND)))
    sale.act("refund", FIRST)
    assert [one.status for one in sale.came] == ["refunded", "refunded"]
    assert (sale.pack.status, sale.noted, sale.balance) == ("refunded", PRICE, 0)


def test_a_refund_that_fails_of_money_that_bought_it_late_gives_nothing() -> None:
    sale = played(("end",), ("dashboard", 400, "processing"), ("come",))
    assert sale.pack.status == "completed"
    sale.act("settle", "failed")
    assert sale.balance == 0, "it was never taken from what the pack was paid with"
    sale.act("refund", FIRST)
    assert (sale.pack.status, sale.noted) == ("refunded", PRICE)


def test_parts_of_one_instant_of_a_test_clock_are_told_apart() -> None:
    sale = Sale("manual")
    for name, *args in (("pay", 600), ("end",), ("pay", 400)):
        getattr(sale, name)(*args)
    assert (sale.refund(FIRST), sale.refund(SECOND)) == (0, None)
    assert (sale.noted, sale.balance) == (400, 0)
