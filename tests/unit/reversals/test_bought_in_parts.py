"""A pack that several payments pay for, of which some go back: before they are seen, after it has
expired, or beside what others have paid. Each cent goes back once, and all of it can.
"""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from tests.searching import examples
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


# -- refunds that fail of money that had bought nothing ------------------------------------------

AGAIN: Final = [("dashboard", PRICE), ("dispute", "lost"), ("refund", FIRST)]
"""The ways in which it goes back again."""


@pytest.mark.parametrize("again", AGAIN, ids=str)
@pytest.mark.parametrize("seen", ["succeeded", "processing"])
@pytest.mark.parametrize("is_late", [False, True])
def test_money_whose_refund_failed_goes_back_from_the_balance(
    again: tuple[Any, ...], seen: str, is_late: bool
) -> None:
    expired = [("end",)] if is_late else []
    sale = played(*expired, ("dashboard", PRICE, seen), ("come",))
    assert (sale.pack.status, sale.balance) == ("expired" if is_late else "failed", 0)
    sale.act("settle", "failed")
    assert sale.balance == PRICE
    sale.act(*again)
    assert sale.balance == 0, "it is no more on the balance"
    assert not any(one.loss_minor for one in sale.rows.of(Dispute))
    (payment,) = sale.rows.of(Payment)
    assert payment.status == "refunded"


def test_money_on_its_way_back_is_not_on_the_balance_meanwhile() -> None:
    sale = played(("dashboard", PRICE, "processing"), ("come",), ("spend", PRICE))
    assert (sale.spent, sale.balance) == (0, 0)
    sale.act("settle", "succeeded")
    assert (sale.balance, sale.rows.of(Refund)[0].from_balance_minor) == (0, PRICE)


# -- a part that came before it expired ----------------------------------------------------------


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


# -- money that is on its way back beside a part -------------------------------------------------


def test_a_part_paid_otherwise_stays_and_its_rest_is_awaited() -> None:
    sale = played(("pay", 400), ("dashboard", PRICE), ("come",))
    (draft,) = sale.rows.of(Invoice)
    assert (sale.pack.status, draft.amount_paid_minor, sale.balance) == ("pending", 400, 0)
    sale.act("pay", 600)
    assert (sale.pack.status, sale.balance, sale.noted) == ("completed", 0, 0)


def test_a_part_paid_otherwise_is_on_the_balance_once_it_expires() -> None:
    sale = played(("pay", 400), ("dashboard", PRICE), ("come",), ("end",))
    assert (sale.pack.status, sale.balance) == ("expired", 400)


# -- any order -----------------------------------------------------------------------------------

AMOUNTS = st.one_of(st.integers(1, PRICE), st.sampled_from((PRICE, 400, 600)))
FATES = st.sampled_from(("succeeded", "processing", "failed"))
PARTS = (
    st.tuples(st.just("pay"), AMOUNTS),
    st.tuples(st.just("come")),
    st.tuples(st.just("end")),
    st.tuples(st.just("dashboard"), AMOUNTS, st.sampled_from(("succeeded", "processing"))),
    st.tuples(st.just("settle"), FATES, st.integers(-2, -1)),
    st.tuples(st.just("refund"), st.integers(0, 2), AMOUNTS, FATES),
    st.tuples(st.just("note"), AMOUNTS),
)
OTHERS = (
    st.tuples(st.just("dispute"), st.sampled_from(("needs_response", "lost")),
              st.one_of(st.none(), AMOUNTS)),
    st.tuples(st.just("decide"), st.sampled_from(("won", "lost", "appeal_under_review"))),
    st.tuples(st.just("spend"), AMOUNTS),
)  # fmt: skip
FLOWS = st.sampled_from(("card", "manual"))


@settings(max_examples=examples(300))
@given(FLOWS, st.lists(st.one_of(*PARTS, *OTHERS), max_size=12))
def test_every_cent_is_here_or_away_once(flow: str, acts: list[tuple[Any, ...]]) -> None:
    played(*acts, flow=flow)


@settings(max_examples=examples(300))
@given(FLOWS, st.lists(st.one_of(*PARTS), max_size=10))
def test_all_that_came_can_go_back(flow: str, acts: list[tuple[Any, ...]]) -> None:
    sale = played(*acts, flow=flow)
    for number in range(len(sale.made)):
        sale.act("settle", "succeeded", number)
    was_bought = sale.pack.status == "completed"
    sale.act("end")
    sale.act("note")
    for number in range(len(sale.came)):
        sale.act("refund", number)
    assert (sale.balance, {one.status for one in sale.came} - {"refunded"}) == (0, set())
    assert sale.pack.status == ("refunded" if was_bought else sale.pack.status)
