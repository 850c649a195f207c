"""Money for which nothing was given, and that went back in the dashboard or to a bank as well."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.matters.agenda import Step
from billing.money.disputes.schemas import Dispute
from billing.money.invoice_requests import corrections
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.payments.schemas import Payment
from billing.money.purchases.schemas import Purchase
from billing.money.refunds import transitions as refunds
from billing.money.refunds.schemas import Refund
from billing.money.reversals import transitions
from billing.money.reversals.views import booked_key, unbooked
from tests.searching import examples
from tests.unit.reversals.story import AT, CREDITS, INVOICE, ME, PAYMENT, Story, act

PAID, BY_HAND = 1000, UUID(int=7)
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
    """The first payment of a subscription that was canceled before the money came. A part may have
    come by hand: that was put on the money balance.
    """

    def __init__(self, by_hand: int = 0) -> None:
        super().__init__(PAID, 0)
        self.by_hand = by_hand
        w = self.work()
        w.change(
            self.rows.get(Invoice, INVOICE), status="void", amount_paid_minor=by_hand,
            finalized_at=None, paid_at=None, voided_at=AT, subscription_id=INVOICE,
        )  # fmt: skip
        card = w.change(
            self.rows.get(Payment, PAYMENT), status="processing", received_minor=0,
            settled_at=None, paid_at=None,
        )  # fmt: skip
        if by_hand:
            came = AT - timedelta(days=1)
            sent = {"id": BY_HAND, "flow": "manual", "status": "completed", "intent_key": "h"}
            sent |= {"received_minor": by_hand, "settled_at": came, "paid_at": came}
            w.add(card.model_copy(update=sent | {"stripe_payment_intent_id": None}))
            invoices.add_balance(w, self.rows.get(Invoice, INVOICE), "returned", by_hand)

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

    def prove(self) -> None:
        rows: list[Refund | Dispute] = [*self.rows.of(Refund), *self.rows.of(Dispute)]
        away = sum(one.own_minor for one in rows if one.takes_room)
        assert self.balance >= 0
        came = PAID + self.by_hand
        assert self.balance + away == came, "what came is with us or with its payer, once"
        assert all(one.is_finished for one in self.rows.of(Refund))


@pytest.mark.parametrize("by_hand", [0, 400])
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("told", ["before it is seen", "before it is asked for", "at the end"])
def test_money_for_nothing_is_returned_or_kept_once(way: Any, told: str, by_hand: int) -> None:
    story = Unasked(by_hand)
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


def again_in_the_dashboard(story: Unasked) -> None:
    story.go(("dashboard", PAID))


def by_its_bank(story: Unasked) -> None:
    story.go(("dispute", "lost", None))


def by_an_operator(story: Unasked) -> None:
    story.ask(PAID, "provider", "succeeded")
    story.tell()


@pytest.mark.parametrize("by_hand", [0, 400])
@pytest.mark.parametrize("parts", [(PAID,), (600, 400), (600,)], ids=str)
@pytest.mark.parametrize("taken", [again_in_the_dashboard, by_its_bank, by_an_operator])
def test_money_whose_refund_failed_goes_back_from_the_balance(
    taken: Callable[[Unasked], None], parts: tuple[int, ...], by_hand: int
) -> None:
    story = Unasked(by_hand)
    for part in parts:
        story.go(("dashboard", part))
    story.come()
    story.asked = [(row, "failed") for row, _ in story.asked]
    story.tell()
    for name, made in story.made.items():
        story.made[name] = made.model_copy(update={"status": "failed"})
        story.go()
    assert story.balance == PAID + by_hand, "every cent that came back is kept"
    taken(story)
    story.prove()
    assert story.balance == by_hand, "it is no more on the balance"
    assert not any(one.loss_minor for one in story.rows.of(Dispute))
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


@pytest.mark.parametrize("comes_back", ["by us", "by its bank"])
@pytest.mark.parametrize("rest", ["succeeded", "failed"])
def test_a_refund_outside_takes_of_what_comes_back_where_another_one_took_its_money(
    comes_back: str, rest: str
) -> None:
    """Of 1000 the refund of 1 failed, so that this 1 is on the balance, and 999 are on their way.
    The balance's 1 goes by our refund or a bank, and 1 more outside: 1001 are promised. What comes
    back is none of ours while 1 + 999 are away; once the 999 fail, 1000 - 1 are here.
    """
    story = Unasked()
    story.go(("dashboard", 1))
    if comes_back == "by its bank":
        story.go(("dispute", "needs_response", 1))
    story.come()
    story.asked = [(row, rest) for row, _ in story.asked]
    story.go(("settle", "failed"))
    if comes_back == "by us":
        story.ask(1, "provider", "failed")
    assert story.balance == 0
    story.go(("dashboard", 1))
    if comes_back == "by us":
        story.asked.reverse()
        story.tell()
    else:
        story.go(("decide", "won"))
    assert story.balance == 0
    story.tell()
    story.prove()
    assert story.balance == (0 if rest == "succeeded" else 999)


@pytest.mark.parametrize("by_us", [False, True])
def test_what_came_back_goes_before_what_our_own_refund_has_under_way(by_us: bool) -> None:
    story = Unasked()
    story.go(("dashboard", 400))
    story.come()
    story.go(("settle", "failed"))
    assert story.balance == 400
    if by_us:
        story.ask(400, "provider", "succeeded")
    else:
        story.go(("dashboard", 400))
    assert story.balance == 0, "the other 600 are on their way"
    while story.asked:
        story.tell()
    story.prove()


AMOUNTS = st.one_of(st.integers(1, PAID), st.sampled_from((PAID, 400, 600)))
FATES = st.sampled_from(("succeeded", "processing", "failed"))
ACTS = st.one_of(
    st.tuples(st.just("dashboard"), AMOUNTS),
    st.tuples(st.just("settle"), FATES),
    st.tuples(st.just("dispute"), st.sampled_from(("needs_response", "lost")),
              st.one_of(st.none(), AMOUNTS)),
    st.tuples(st.just("decide"), st.sampled_from(("won", "lost"))),
    st.tuples(st.just("ask"), AMOUNTS, st.just("provider"), FATES),
    st.tuples(st.just("tell")),
    st.tuples(st.just("hear")),
)  # fmt: skip


@settings(max_examples=examples(300))
@given(st.lists(ACTS, max_size=5), st.lists(ACTS, max_size=9), st.sampled_from((0, 400)), FATES)
def test_money_for_nothing_is_with_us_or_with_its_payer_in_any_order(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]], by_hand: int, fate: str
) -> None:
    story = Unasked(by_hand)
    for one in before:
        story.go(one)
    story.come()
    for one in after:
        story.go(one)
    while story.asked:
        story.tell()
        story.book()
    for name, made in story.made.items():
        if made.status == "processing":
            ends = "failed" if fate == "failed" else "succeeded"
            story.made[name] = made.model_copy(update={"status": ends})
            story.go()
    story.prove()


def test_what_was_refunded_before_is_not_asked_for_again() -> None:
    story = Unasked()
    story.go(("dashboard", PAID))
    story.come()
    [only] = story.rows.of(Refund)
    assert (only.amount_minor, story.balance, story.asked) == (PAID, 0, [])
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


def test_what_is_left_of_it_goes_back() -> None:
    story = Unasked()
    story.go(("dashboard", 400))
    story.come()
    story.tell()
    story.book()
    assert sorted(one.amount_minor for one in story.rows.of(Refund)) == [400, 600]
    assert (story.balance, story.rows.get(Payment, PAYMENT).status) == (0, "refunded")


@pytest.mark.parametrize(("end", "kept"), [("won", PAID), ("lost", 0)])
def test_a_dispute_decides_on_money_that_the_provider_cannot_refund(end: str, kept: int) -> None:
    story = Unasked()
    story.go(("dispute", "needs_response", None))
    story.come()
    story.tell()
    assert story.balance == 0
    story.go(("decide", end))
    assert story.balance == kept


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
        story.work(), INVOICE, amount=499, lines=(), reason="goodwill", to="balance",
        suffix="rest", tries=True,
    )  # fmt: skip
    assert story.rows.get(Purchase, pack.id).status == ends
