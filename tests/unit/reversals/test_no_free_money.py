"""No sequence of refunds, disputes, notes and failures gives more than was paid."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core import ids
from billing.core.errors import Conflict
from billing.core.paypal_currencies import to_paypal
from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import BalanceEntry, CreditNote
from billing.money.payments.schemas import PAYPAL, Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.rules import RefundOutcome
from billing.money.refunds.schemas import Refund
from tests.searching import examples
from tests.unit.reversals.story import CREDITS, PAYMENT, WHOLE, Story, act


def test_a_bank_that_takes_the_whole_charge_after_a_refund_makes_no_debtor() -> None:
    story = Story(999, 0)
    story.ask(333, "provider", "succeeded")
    story.tell()
    for what in (("dispute", "needs_response", None), ("hear",), ("decide", "lost"), ("hear",)):
        act(story, what)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.note_minor, dispute.balance_minor, dispute.loss_minor) == (666, 0, 333)
    payment = story.rows.get(Payment, PAYMENT)
    assert (payment.status, payment.refunded_minor) == ("refunded", 999)
    act(story, ("settle", "failed"))  # its card is closed: that money is what the bank took
    act(story, ("hear",))
    story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.balance_minor, dispute.loss_minor) == (333, 0)
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0


@pytest.mark.parametrize("final", ["won", "lost"])
def test_a_dispute_in_another_currency_is_told_and_the_rest_of_its_payment_goes_on(
    final: str,
) -> None:
    story = Story(999, 0)
    act(story, ("dashboard", 333))
    act(story, ("dispute", "needs_response", 90_000))
    (name,) = story.disputes
    story.disputes[name] = story.disputes[name].model_copy(update={"currency": "JPY"})
    for status in ("warning_needs_response", "needs_response", "under_review", final):
        story.disputes[name] = story.disputes[name].model_copy(update={"status": status})
        act(story, ("hear",))
        story.hold_true()
        [dispute] = story.rows.of(Dispute)
        assert (dispute.amount_minor, dispute.currency) == (90_000, "JPY")
        assert dispute.status == status
        assert dispute.note_minor == dispute.balance_minor == 0
        assert dispute.credits == []
    assert [one.state for one in story.rows.of(Dispute)] == ["closed"]
    told = [one for one in story.announced if one.startswith("dispute.")]
    once = ["dispute.opened", "dispute.escalated", "dispute.closed"]
    assert told == once, "each is told once"
    payment = story.rows.get(Payment, PAYMENT)
    assert payment.refunded_minor == 333, "its refund beside the dispute is booked"
    story.ask(666, "provider", "succeeded")
    assert story.asked, "and so may the rest of it go back"


def test_an_overpayment_whose_refund_fails_is_what_the_bank_took() -> None:
    story = Story(900, 100)
    story.ask(100, "provider", "processing")
    story.tell()
    for what in (("dispute", "lost", None), ("hear",), ("settle", "failed"), ("hear",)):
        act(story, what)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.note_minor, dispute.balance_minor, dispute.loss_minor) == (900, 100, 0)


def test_money_that_went_to_the_balance_goes_from_there_to_the_bank() -> None:
    story = Story(999, 0)
    story.ask(333, "balance", "succeeded")
    for what in (("dispute", "needs_response", 800), ("hear",), ("decide", "lost"), ("hear",)):
        act(story, what)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.note_minor, dispute.balance_minor, dispute.loss_minor) == (666, 134, 0)


@pytest.mark.parametrize("appeal", [(), (("decide", "appeal_under_review"), ("hear",))])
def test_a_dispute_that_is_won_after_it_was_lost_is_money_of_the_customer(
    appeal: tuple[tuple[Any, ...], ...],
) -> None:
    story = Story(999, 0)
    story.ask(333, "provider", "succeeded")
    story.tell()
    lost = (("dispute", "needs_response", None), ("hear",), ("decide", "lost"), ("hear",))
    for what in (*lost, *appeal):
        act(story, what)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.state, dispute.note_minor, dispute.loss_minor) == ("lost", 666, 333)
    for what in (("decide", "won"), ("hear",), ("hear",)):
        act(story, what)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.state, dispute.status, dispute.loss_minor) == ("won", "won", 0)
    [entry] = story.rows.of(BalanceEntry)
    assert (entry.kind, entry.amount_minor) == ("dispute_won", 666)
    payment = story.rows.get(Payment, PAYMENT)
    assert (payment.status, payment.refunded_minor) == ("succeeded", 333)
    assert story.lot["asked"] == CREDITS, "who has the money has no credits for it"


def test_an_appeal_that_is_lost_changes_nothing() -> None:
    story = Story(999, 0)
    act(story, ("dispute", "lost", None))
    story.hear()
    before = story.rows.by_type()
    for status in ("appeal_under_review", "lost"):
        act(story, ("decide", status))
        story.hear()
        story.hold_true()
    assert story.rows.by_type() == before


@pytest.mark.parametrize(
    "held",
    [
        ("ask", 4900, "provider", "succeeded"),
        ("upgrade", 4900),
        ("ask", 3000, "provider", "succeeded"),
    ],
)
@pytest.mark.parametrize("taken", [("dashboard", 4900), ("dispute", "needs_response", None)])
def test_money_taken_back_while_its_room_is_held_is_a_credit_note_once_it_is_free(
    held: tuple[Any, ...], taken: tuple[Any, ...]
) -> None:
    story = Story(4900, 0)
    free = (("tell",), ("decide_upgrade", "void"), ("decide", "lost"), ("hear",))
    for what in (held, taken, ("hear",), *free):
        act(story, what)
        story.hold_true()
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0, "nobody owes it"
    assert sum(one.amount_minor for one in story.rows.of(CreditNote)) == 4900
    assert story.lot["asked"] == CREDITS
    assert story.rows.get(Payment, PAYMENT).status == "refunded"
    assert not any(one.loss_minor for one in story.rows.of(Dispute))


def test_credits_go_with_all_the_money_that_was_left_after_a_proof() -> None:
    story = Story(8399, 0, added=True)
    for what in (("prove",), ("ask", 8399, "provider", "succeeded"), ("tell",)):
        act(story, what)
        story.hold_true()
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0
    assert story.lot["asked"] == CREDITS


def test_credits_stay_where_the_price_alone_was_too_high_and_go_with_the_rest_of_it() -> None:
    story = Story(3000, 0)
    for amount, keeps, left in ((2000, True, 100), (500, False, 50), (500, False, 0)):
        story.ask(amount, "provider", "succeeded", keep_credits=keeps)
        story.tell()
        story.hold_true()
        assert CREDITS - story.lot["asked"] == left
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


def test_dinars_go_back_to_a_card_in_whole_steps_and_the_rest_to_the_balance() -> None:
    story = Story(12_340, 0, "KWD")
    payment = story.rows.get(Payment, PAYMENT)
    with pytest.raises(Conflict) as refused:
        refunds.ask(story.work(), payment, refund_id=UUID(int=7), amount_minor=5, **WHOLE)
    assert (refused.value.code, refused.value.fields["left_cents"]) == ("REFUND_STEP", 12_340)
    story.note(7)
    spent = next(one for one in story.rows.of(BalanceEntry))
    story.work().add(spent.model_copy(update={"id": UUID(int=9), "amount_minor": -7}))
    refunds.ask(story.work(), payment, refund_id=UUID(int=8), amount_minor=None, **WHOLE)
    asked = [(one.way, one.amount_minor, one.note_minor) for one in story.rows.of(Refund)]
    assert asked == [("provider", 12_330, 12_330), ("balance", 3, 3)]


@pytest.mark.parametrize(("currency", "step"), [("HUF", 100), ("TWD", 100), ("JPY", 1), ("EUR", 1)])
def test_what_paypal_brought_goes_back_there_in_amounts_that_paypal_expresses(
    currency: str, step: int
) -> None:
    story = Story(666_600, 0, currency)
    payment = story.work().change(story.rows.get(Payment, PAYMENT), flow=PAYPAL)
    if step > 1:
        with pytest.raises(Conflict) as refused:
            refunds.ask(story.work(), payment, refund_id=UUID(int=7), amount_minor=33_333, **WHOLE)
        assert (refused.value.code, refused.value.detail) == (
            "REFUND_STEP", "the amount must be a multiple of 100",
        )  # fmt: skip
    story.note(33_333)
    w = story.work()
    back = refunds.return_balance(w, payment, key="end", most_minor=33_333, reason="not used")
    assert back == 33_333 - 33_333 % step
    assert to_paypal(back, currency)


def test_a_dispute_takes_no_more_of_a_failed_refund_than_is_here() -> None:
    story = Story(369, 100)
    for what in (
        ("dashboard", 1), ("keep", 469, "succeeded"), ("dispute", "needs_response", None),
        ("dashboard", 1), ("tell",), ("hear",),
    ):  # fmt: skip
        act(story, what)
        story.hold_true()
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0
    assert sum(one.loss_minor for one in story.rows.of(Dispute)) == 1


def test_a_note_takes_money_of_the_dashboard_once_an_upgrade_is_not_paid() -> None:
    story = Story(430, 100)
    for what in (
        ("ask", 529, "provider", "succeeded"),
        ("dashboard", 1),
        ("upgrade", 1),
        ("hear",),
    ):
        act(story, what)
        story.hold_true()
    [told] = [one for one in story.rows.of(Refund) if one.amount_minor == 1]
    assert (told.note_minor, told.balance_minor, told.wanted_minor) == (0, 1, 1)
    story.tell()
    story.decide_upgrade("void")
    [told] = [one for one in story.rows.of(Refund) if one.amount_minor == 1]
    assert (told.note_minor, told.balance_minor) == (1, 0)
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0


def test_a_dispute_after_a_failed_refund_takes_no_credits_twice() -> None:
    story = Story(920, 0)
    for what in (
        ("ask", 36, "balance", "succeeded"), ("dashboard", 2), ("hear",), ("settle", "failed"),
        ("dispute", "needs_response", None), ("hear",),
    ):  # fmt: skip
        act(story, what)
        story.hold_true()
    assert story.lot["asked"] == CREDITS


@pytest.mark.parametrize("end", ["lost", "won"])
def test_a_bank_takes_the_credits_of_a_price_of_which_a_change_has_credited_a_part(
    end: str,
) -> None:
    story = Story(1000, 0)
    story.upgrade(400)
    story.decide_upgrade("paid")
    for what in (("dispute", "needs_response", None), ("hear",)):
        act(story, what)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.note_minor, dispute.balance_minor, dispute.loss_minor) == (600, 0, 400)
    assert story.lot["asked"] == CREDITS
    act(story, ("decide", end))
    act(story, ("hear",))
    story.hold_true()
    assert story.lot["asked"] == (CREDITS if end == "lost" else 0)


@pytest.mark.parametrize("order", [("tell", "won"), ("won", "tell")])
def test_a_dispute_that_is_won_leaves_taken_the_credits_of_a_refund_that_was_under_way(
    order: tuple[str, str],
) -> None:
    story = Story(1000, 0)
    story.ask(400, "provider", "succeeded")
    row, _ = story.asked[0]
    for what in (("dispute", "needs_response", None), ("hear",)):
        act(story, what)
        story.hold_true()
    assert story.lot["asked"] == 60
    name = ids.encode("ref", row.id)
    for step in order:
        if step == "won":
            act(story, ("decide", "won"))
        else:
            story.made["re_1"] = RefundOutcome(
                refund_id="re_1", status="succeeded", amount_minor=400, name=name
            )
        act(story, ("hear",))
        story.hold_true()
    assert story.lot["asked"] == 40


@pytest.mark.parametrize("told", ["one by one", "at once"])
@pytest.mark.parametrize("part", [None, 500])
def test_a_second_dispute_takes_the_credits_that_the_first_one_returned(
    told: str, part: int | None
) -> None:
    """The first takes all 100 credits and is won; the second one's share of 1000 is taken again."""
    story = Story(1000, 0)
    act(story, ("dispute", "needs_response", None))
    story.hear()
    act(story, ("decide", "won"))
    if told == "one by one":
        story.hear()
    act(story, ("dispute", "needs_response", part))
    story.hear()
    story.hold_true()
    assert story.lot["asked"] == CREDITS * (part or 1000) / 1000
    act(story, ("decide", "won"))
    story.hear()
    assert story.lot["asked"] == 0


def test_disputes_that_are_heard_at_once_take_no_credits_that_a_change_took() -> None:
    """Of 100 credits a change took 80; half of the price asks for 50, and finds 20 left."""
    story = Story(1000, 0)
    story.changed = Decimal(80)
    for _ in range(2):
        act(story, ("dispute", "needs_response", 500))
    story.hear()
    taken = [[Decimal(one["amount"]) for one in row.credits] for row in story.rows.of(Dispute)]
    assert taken == [[20], []]


@pytest.mark.parametrize("end", ["needs_response", "lost"])
def test_a_dispute_takes_room_that_comes_free_after_a_refund_outside_failed(end: str) -> None:
    """Of 10, 1 is on its way by us, and all 10 by the dashboard: nothing is here for a bank that
    takes 10. Once both refunds failed, the bank has what came: it is no loss of ours, and nothing
    of the price is paid.
    """
    story = Story(10, 0)
    story.ask(1, "provider", "failed")
    for what in (("dashboard", 10), ("dispute", "needs_response", None), ("decide", end)):
        act(story, what)
        story.hear()
        story.hold_true()
    for then in (("settle", "failed"), ("hear",), ("tell",)):
        act(story, then)
        story.hold_true()
    [dispute] = story.rows.of(Dispute)
    noted = sum(one.amount_minor for one in story.rows.of(CreditNote))
    assert (dispute.loss_minor, story.balance, story.lot["asked"]) == (0, 0, CREDITS)
    assert noted + (dispute.note_minor if end == "needs_response" else 0) == 10


AMOUNTS = st.integers(1, 1100)
ACTS = st.one_of(
    st.tuples(
        st.just("ask"), AMOUNTS, st.sampled_from(("provider", "balance")),
        st.sampled_from(("succeeded", "processing", "failed")),
    ),
    st.tuples(st.just("keep"), AMOUNTS, st.sampled_from(("succeeded", "processing", "failed"))),
    st.tuples(st.just("dashboard"), AMOUNTS),
    st.tuples(st.just("settle"), st.sampled_from(("succeeded", "failed"))),
    st.tuples(
        st.just("dispute"), st.sampled_from(("needs_response", "warning_needs_response")),
        st.one_of(st.none(), AMOUNTS),
    ),
    st.tuples(st.just("decide"), st.sampled_from(("won", "lost", "appeal_under_review"))),
    st.tuples(st.just("note"), AMOUNTS),
    st.tuples(st.just("prove")),
    st.tuples(st.just("tell")),
    st.tuples(st.just("upgrade"), AMOUNTS),
    st.tuples(st.just("decide_upgrade"), st.sampled_from(("void", "paid"))),
    st.tuples(st.just("hear")),
)  # fmt: skip


@settings(max_examples=examples(300))
@given(
    st.integers(1, 1000), st.sampled_from((0, 0, 100)), st.booleans(),
    st.lists(ACTS, max_size=14),
)  # fmt: skip
def test_nothing_goes_back_twice(
    total: int, overpaid: int, added: bool, acts: list[tuple[Any, ...]]
) -> None:
    story = Story(total, overpaid, added=added)
    for what in acts:
        act(story, what)
        story.hold_true()
    while story.asked:
        story.tell()
    story.decide_upgrade("void")
    story.hear()
    story.hold_true()
    before = story.rows.by_type()
    story.hear()
    assert story.rows.by_type() == before, "what was heard before changes nothing"
