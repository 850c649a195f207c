"""Money for which nothing was given, and that went back in the dashboard or to a bank as well."""

from typing import Any
from uuid import UUID

import pytest

from billing.matters.agenda import Step
from billing.money.disputes.schemas import Dispute
from billing.money.invoice_requests import corrections
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments.schemas import Payment
from billing.money.purchases.schemas import Purchase
from billing.money.refunds import transitions as refunds
from billing.money.refunds.schemas import Refund
from billing.money.reversals import transitions
from billing.money.reversals.views import booked_key, unbooked
from tests.unit.reversals.story import AT, CREDITS, INVOICE, ME, PAYMENT, Story, act

PAID = 1000
WAYS: list[tuple[tuple[Any, ...], ...]] = [
    (("dashboard", PAID),),
    (("dashboard", 400),),
    (("dashboard", PAID), ("settle", "processing"), ("hear",), ("settle", "failed")),
    (("dashboard", PAID), ("settle", "processing"), ("hear",), ("settle", "succeeded")),
    (("dashboard", PAID), ("hear",), ("settle", "failed")),
    (("dispute", "needs_response", None),),
    (("dispute", "needs_response", 400),),
    (("dispute", "needs_response", None), ("hear",), ("decide", "won")),
    (("dispute", "needs_response", None), ("hear",), ("decide", "lost")),
    (("dispute", "lost", None),),
]
"""The ways that its money takes outside, each heard of at its end."""


class Unasked(Story):
    """The first payment of a subscription that was canceled before the money came."""

    def __init__(self) -> None:
        super().__init__(PAID, 0)
        w = self.work()
        w.change(
            self.rows.get(Invoice, INVOICE), status="void", amount_paid_minor=0,
            finalized_at=None, paid_at=None, subscription_id=INVOICE,
        )  # fmt: skip
        w.change(
            self.rows.get(Payment, PAYMENT), status="processing", received_minor=0,
            settled_at=None, paid_at=None,
        )  # fmt: skip

    def come(self) -> None:
        """Its money is seen, and told to go back."""
        w = self.work()
        payment = w.change(
            self.rows.get(Payment, PAYMENT), status="succeeded", received_minor=PAID, paid_at=AT
        )
        refunds.give_back(w, refunds.mark_booked(w, payment), "nothing is given for it")
        self.asked = [(one, "succeeded") for one in self.rows.of(Refund) if not one.asked_at]
        self.book()

    def go(self, *acts: tuple[Any, ...]) -> None:
        for one in (*acts, ("hear",)):
            act(self, one)
            self.book()

    def book(self) -> None:
        if self.rows.get(Payment, PAYMENT).settled_at is None:
            return
        while (waiting := unbooked(self.rows, PAYMENT)) is not None:
            w = self.work()
            transitions.book(w, Step(name="book", due=AT, key=booked_key(waiting)))
            self.follow(w.effects)
        self.settle()

    @property
    def kept(self) -> int:
        """The customer's money with us."""
        return sum(one.amount_minor for one in self.rows.of(BalanceEntry))

    def prove(self) -> None:
        rows: list[Refund | Dispute] = [*self.rows.of(Refund), *self.rows.of(Dispute)]
        away = sum(one.own_minor for one in rows if one.takes_room)
        assert self.kept >= 0
        assert self.kept + away == PAID, "what came is with us or with its payer, once"
        assert all(one.is_finished for one in self.rows.of(Refund))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("told", ["before it is seen", "before it is asked for", "at the end"])
def test_money_for_nothing_is_returned_or_kept_once(way: Any, told: str) -> None:
    story = Unasked()
    if told == "before it is seen":
        story.go(*way)
    story.come()
    if told == "before it is asked for":
        story.go(*way)
    if told == "at the end":
        happened, *later = way
        act(story, happened)
        story.tell()
        story.go(*later)
    story.tell()
    story.book()
    story.prove()


def test_what_was_refunded_before_is_not_asked_for_again() -> None:
    story = Unasked()
    story.go(("dashboard", PAID))
    story.come()
    [only] = story.rows.of(Refund)
    assert (only.amount_minor, story.kept, story.asked) == (PAID, 0, [])
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


def test_what_is_left_of_it_goes_back() -> None:
    story = Unasked()
    story.go(("dashboard", 400))
    story.come()
    story.tell()
    story.book()
    assert sorted(one.amount_minor for one in story.rows.of(Refund)) == [400, 600]
    assert (story.kept, story.rows.get(Payment, PAYMENT).status) == (0, "refunded")


@pytest.mark.parametrize(("end", "kept"), [("won", PAID), ("lost", 0)])
def test_a_dispute_decides_on_money_that_the_provider_cannot_refund(end: str, kept: int) -> None:
    story = Unasked()
    story.go(("dispute", "needs_response", None))
    story.come()
    story.tell()
    assert story.kept == 0
    story.go(("decide", end))
    assert story.kept == kept


@pytest.mark.parametrize(("fate", "ends"), [("succeeded", "refunded"), ("failed", "completed")])
def test_a_pack_whose_refund_failed_is_not_refunded_by_a_note_for_the_rest(
    fate: str, ends: str
) -> None:
    story = Story(999, 0)
    pack = Purchase(
        id=UUID(int=6), account_id=ME, pack="small", pack_name="Small", credits=CREDITS,
        amount_minor=999, currency="EUR", platform="stripe", flow="saved_card",
        status="completed", invoice_id=INVOICE, created_at=AT, expires_at=AT,
    )  # fmt: skip
    story.work().add(pack)
    for what in (("dashboard", 500), ("hear",), ("settle", fate), ("hear",)):
        act(story, what)
        story.hold_true()
    corrections.credit(
        story.work(), INVOICE, amount=499, lines=(), reason="goodwill", to="balance", suffix="rest"
    )
    assert story.rows.get(Purchase, pack.id).status == ends
