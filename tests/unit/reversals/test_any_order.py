"""Disputes and refunds of one payment that also paid a carried debt, in any order: what the
customer bears, and our loss, follow from what banks kept and what went back alone.
"""

from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import BalanceEntry, CreditNote
from billing.money.payments.schemas import Payment
from billing.money.refunds.remaining import all_reversals
from billing.money.refunds.rules import RefundOutcome
from tests.searching import examples
from tests.unit.reversals.story import CREDITS, PAYMENT, Story
from tests.unit.reversals.test_carried_debts import DEBT, RECEIVED, judged, renewed

PRICE: Final = 30
OVERPAID: Final = 10
PATHS: Final = {
    "won": ("needs_response", "won"),
    "lost": ("needs_response", "lost"),
    "lost_at_once": ("lost",),
    "only_asked": ("warning_needs_response", "warning_closed"),
    "asked_first": ("warning_needs_response", "needs_response", "lost"),
    "won_after_all": ("needs_response", "lost", "won"),
}
"""The states of a dispute at its bank, one after the other."""
FATES: Final = {"arrives": ("succeeded",), "comes_back": ("succeeded", "failed")}


class Event(NamedTuple):
    """News of one dispute (`d…`) or refund (`r…`)."""

    name: str
    amount: int
    status: str


@st.composite
def courses(draw: st.DrawFn, *, refunds: int = 2) -> list[Event]:
    """The news of some disputes and refunds, each in its own order."""
    some = st.tuples(st.integers(1, RECEIVED), st.sampled_from(sorted(PATHS)))
    back = st.tuples(st.integers(1, RECEIVED), st.sampled_from(sorted(FATES)))
    disputes = draw(st.lists(some, min_size=1, max_size=4))
    made = draw(st.lists(back, max_size=refunds))
    news = {f"d{n}": (amount, list(PATHS[path])) for n, (amount, path) in enumerate(disputes)}
    news |= {f"r{n}": (amount, list(FATES[fate])) for n, (amount, fate) in enumerate(made)}
    turns = [name for name, (_, states) in news.items() for _ in states]
    return [
        Event(name, news[name][0], news[name][1].pop(0)) for name in draw(st.permutations(turns))
    ]


def play(course: list[Event], *, spends: bool) -> Story:
    """All that is heard, in this order. A provider gives back no more than it has."""
    story = renewed(spends=spends)
    story.paid = RECEIVED
    for name, amount, status in course:
        if name.startswith("d"):
            judged(story, name, status, amount)
        elif name in story.made or (status == "succeeded" and amount <= story.room):
            story.made[name] = RefundOutcome(
                refund_id=name, amount_minor=amount, status=status,  # type: ignore[arg-type]
            )  # fmt: skip
            story.hear()
    return story


class End(NamedTuple):
    """The sums in the end."""

    balance: int
    noted: int
    loss: int
    lost: int
    """The money that banks kept."""
    back: int
    """The money that was refunded."""

    @property
    def value(self) -> int:
        """The customer's money, less what a note took off the price."""
        return self.balance - self.noted


def end_of(story: Story) -> End:
    return End(
        balance=sum(one.amount_minor for one in story.rows.of(BalanceEntry)),
        noted=sum(one.amount_minor for one in story.rows.of(CreditNote)),
        loss=sum(one.loss_minor for one in story.rows.of(Dispute)),
        lost=sum(one.amount_minor for one in story.disputes.values() if one.status == "lost"),
        back=sum(one.amount_minor for one in story.made.values() if one.status != "failed"),
    )


@settings(max_examples=examples(300))
@given(courses(), st.booleans())
def test_what_the_customer_bears_follows_from_what_went_away_in_any_order(
    course: list[Event], spends: bool
) -> None:
    """Beyond the money that is here banks take ours; a refund made at the provider is owed. Money
    that came back though its note stands has paid a debt on the balance before a bank takes it.
    """
    story = play(course, spends=spends)
    end, rows = end_of(story), all_reversals(story.rows)
    had, spent = (0, OVERPAID) if spends else (40, 0)
    least = max(0, end.lost + end.back - RECEIVED)
    netted = min(DEBT, sum(one.note_minor for one in rows if not one.takes_room and one.booked_at))
    most = max(0, end.lost - max(0, RECEIVED - spent - netted - end.back))
    assert least <= end.loss <= most
    assert end.value == had - (end.lost + end.back - end.loss), "money is conserved"
    assert end.noted <= PRICE
    assert not any(one.is_reserved for one in rows)
    booked = sum(one.own_minor for one in rows if one.takes_room)
    assert story.rows.get(Payment, PAYMENT).refunded_minor == min(booked, RECEIVED)


@settings(max_examples=examples(200))
@given(courses(refunds=0), st.booleans())
def test_a_bank_makes_no_debtor_beyond_the_debt_that_the_payment_had_paid(
    course: list[Event], spends: bool
) -> None:
    story = play(course, spends=spends)
    end, had = end_of(story), 0 if spends else 40
    assert end.balance >= had - DEBT - (0 if spends else OVERPAID)
    is_final = not any(one.status == "won" and one.name in _lost(course) for one in course)
    if is_final and end.lost >= RECEIVED:
        assert (end.noted, story.lot["asked"]) == (PRICE, CREDITS), "all of the price is gone"


def _lost(course: list[Event]) -> set[str]:
    return {one.name for one in course if one.status == "lost"}


@pytest.mark.parametrize("winner", ["first", "second", "third"])
def test_of_three_that_take_the_whole_payment_the_two_that_stay_take_it_once(winner: str) -> None:
    story = renewed()
    names = ("first", "second", "third")
    for name in names:
        judged(story, name, "needs_response", RECEIVED)
    judged(story, winner, "won", RECEIVED)
    for name in names:
        if name != winner:
            judged(story, name, "lost", RECEIVED)
    end = end_of(story)
    assert (end.balance, end.noted, end.loss) == (-DEBT, PRICE, RECEIVED + OVERPAID)
    assert story.lot["asked"] == CREDITS


def test_a_note_makes_room_for_a_dispute_while_another_one_holds_the_debt() -> None:
    story = renewed()
    for name, amount in (("debt", DEBT), ("price", PRICE), ("late", 40)):
        judged(story, name, "needs_response", amount)
    judged(story, "price", "won", PRICE)
    for name, amount in (("debt", DEBT), ("late", 40)):
        judged(story, name, "lost", amount)
    end = end_of(story)
    assert (end.balance, end.noted, end.loss) == (-DEBT, PRICE, OVERPAID)
