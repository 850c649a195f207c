"""A renewal that also charged a debt, and whose payer sent too much, which is spent: banks take the
debt first, at once or in parts.
"""

from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds.rules import DisputeOutcome
from billing.money.refunds.schemas import Refund
from billing.money.reversals.booking import subject_of
from tests.unit.reversals.story import INVOICE, PAYMENT, Story, act

DEBT: Final = 20
RECEIVED: Final = 60


def renewed(*, spends: bool = True) -> Story:
    """A price of 30, a debt of 20, and 10 beyond that, or else 30 more of the customer's."""
    story = Story(30, 10)
    w = story.work()
    billed = story.rows.get(Invoice, INVOICE)
    w.change(billed, amount_due_minor=50, amount_paid_minor=50, balance_applied_minor=-DEBT)
    w.change(story.rows.get(Payment, PAYMENT), amount_minor=50, received_minor=RECEIVED)
    [kept] = story.rows.of(BalanceEntry)
    spent = {
        "id": UUID(int=6),
        "key": "s",
        "kind": "applied",
        "amount_minor": -10 if spends else 30,
    }
    w.add(kept.model_copy(update=spent | {"invoice_id": None}))
    return story


@pytest.mark.parametrize("parts", [(60,), (20, 40), (40, 20), (10, 50), (20, 20, 20)])
@pytest.mark.parametrize("verdict", ["needs_response", "lost"])
def test_a_debt_is_owed_again_once_however_many_disputes_take_it(
    parts: tuple[int, ...], verdict: str
) -> None:
    story = renewed()
    for part in parts:
        for one in (("dispute", "needs_response", part), ("hear",), ("decide", verdict), ("hear",)):
            act(story, one)
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == -DEBT
    taken = story.rows.of(Dispute)
    assert sum(one.note_minor for one in taken) == 30, "the price"
    assert sum(one.loss_minor for one in taken) == 10, "what was sent too much, and is spent"


def judged(story: Story, name: str, verdict: str, amount: int) -> None:
    """The state at the bank of one of several disputes."""
    story.disputes[name] = DisputeOutcome(
        dispute_id=name, status=verdict, amount_minor=amount, currency="EUR", reason="general"
    )
    story.hear()


def sums(story: Story) -> tuple[int, int, int, int, Decimal]:
    """The money balance, the places of the last dispute, and the credits taken back."""
    last = story.rows.of(Dispute)[-1]
    balance = sum(one.amount_minor for one in story.rows.of(BalanceEntry))
    return balance, last.note_minor, last.balance_minor, last.loss_minor, story.lot["asked"]


@pytest.mark.parametrize("spends", [True, False])
@pytest.mark.parametrize("part", [10, DEBT, 40, 60])
@pytest.mark.parametrize("first", [10, DEBT, 40, 60])
@pytest.mark.parametrize("verdict", ["needs_response", "lost"])
def test_one_that_is_won_beside_another_leaves_what_the_other_takes_alone(
    verdict: str, first: int, part: int, spends: bool
) -> None:
    """Both together take more than what came: the rest is our loss until then."""
    alone, both = renewed(spends=spends), renewed(spends=spends)
    judged(alone, "second", verdict, part)
    judged(both, "first", "needs_response", first)
    judged(both, "second", verdict, part)
    judged(both, "first", "won", first)
    if first + part > RECEIVED:
        (had, noted, owed, *ours), (expected, note, _, loss, _) = sums(both), sums(alone)
        assert (had - noted, ours[0]) == (expected - note, loss), "a note that is there stays"
        assert owed >= min(part, DEBT)
        assert sums(both) == sums(alone) or not spends
    judged(both, "second", "lost", part)
    assert both.rows.get(Payment, PAYMENT).refunded_minor == both.rows.of(Dispute)[-1].own_minor


@pytest.mark.parametrize(("part", "balance"), [(DEBT, 50 - DEBT - 20), (40, 50 - DEBT - 40)])
def test_money_that_is_won_after_all_makes_up_for_what_another_dispute_took(
    part: int, balance: int
) -> None:
    """The bank returns 50 of the 60 with its first verdict: the other 10 were spent before."""
    story = renewed()
    for verdict in ("needs_response", "lost"):
        judged(story, "first", verdict, 60)
    judged(story, "second", "lost", part)
    assert sums(story)[:4] == (-DEBT, 0, 0, part), "nothing is left that it could take"
    judged(story, "first", "won", 60)
    assert sums(story)[:4] == (balance, 0, part, 0)
    judged(story, "second", "won", part)
    assert sums(story)[0] == 50 - DEBT, "its credits stay with its note"


def test_what_was_sent_too_much_goes_back_without_a_note_after_a_bank_took_the_debt() -> None:
    story = renewed(spends=False)
    for one in (("dispute", "needs_response", DEBT), ("hear",), ("dashboard", 10), ("hear",)):
        act(story, one)
    [refund] = story.rows.of(Refund)
    assert (refund.note_minor, refund.balance_minor) == (0, 10)
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 10 + 30 - DEBT - 10
    assert story.lot["asked"] == 0, "the price is paid"


@pytest.mark.parametrize("verdict", ["needs_response", "lost"])
def test_a_debt_whose_money_a_bank_holds_stays_owed_when_a_refund_fails(verdict: str) -> None:
    story = renewed()
    act(story, ("dashboard", 10))
    story.hear()
    judged(story, "bank", verdict, RECEIVED)
    assert sums(story)[:4] == (-DEBT, 20, DEBT, 20)
    act(story, ("settle", "failed"))
    story.hear()
    # The bank has all that came: of our loss, only the 10 that were spent are left.
    assert sums(story)[:4] == (-DEBT, 20, DEBT + 10, 10)
    [*_, failed] = story.told("refund.failed")
    assert failed["balance_cents"] == 0, "nothing of it stays"
    assert story.rows.get(Payment, PAYMENT).refunded_minor == (50 if verdict == "lost" else 0)


def test_money_that_is_won_stays_with_nobody_while_two_other_banks_hold_more_than_came() -> None:
    story = Story(60, 0)
    for name in ("first", "second", "third"):
        judged(story, name, "lost", 60)
    judged(story, "first", "won", 60)
    assert sums(story)[:4] == (0, 0, 0, 60), "the second has taken all of it"
    payment = story.rows.get(Payment, PAYMENT)
    assert (payment.status, payment.refunded_minor) == ("refunded", 60)
    assert [one["balance_cents"] for one in story.told("dispute.won")] == [0]


@pytest.mark.parametrize(
    ("verdicts", "then"),
    [
        (["lost"], [("dispute.opened", 40), ("dispute.lost", 40)]),
        (["needs_response"], [("dispute.opened", 40), ("dispute.lost", 0)]),
        (
            ["warning_needs_response", "needs_response"],
            [("dispute.opened", 0), ("dispute.escalated", 40), ("dispute.lost", 0)],
        ),
    ],
)
def test_the_events_of_a_dispute_tell_its_loss_of_their_time(
    verdicts: list[str], then: list[tuple[str, int]]
) -> None:
    """A bank that only asks has taken nothing. A loss that falls later is told by the verdict, if
    that comes later still; after the verdict by its row alone.
    """
    story = renewed()
    judged(story, "first", "needs_response", RECEIVED)
    for verdict in verdicts:
        judged(story, "second", verdict, 40)
    assert sums(story)[3] == 40
    judged(story, "first", "won", RECEIVED)
    judged(story, "second", "lost", 40)
    assert sums(story)[3] == 0
    second = subject_of(story.rows.of(Dispute)[-1])
    told = [(action, facts) for action, facts in story.events if action.startswith("dispute.")]
    assert [(one, it["loss_cents"]) for one, it in told if it["dispute_id"] == second] == then


@pytest.mark.parametrize(
    ("verdicts", "ends"),
    [
        (["needs_response", "won"], ("dispute.won", 0)),
        (["lost", "won"], ("dispute.won", 0)),
        (["warning_needs_response", "needs_response", "warning_closed"], ("dispute.closed", 0)),
    ],
)
def test_the_end_of_a_dispute_that_gave_all_of_it_back_tells_no_loss(
    verdicts: list[str], ends: tuple[str, int]
) -> None:
    story = Story(1189, 0)
    act(story, ("dashboard", 333))
    story.hear()
    for verdict in verdicts:
        judged(story, "bank", verdict, 1189)
    told = [(name, facts["loss_cents"]) for name, facts in story.events if "loss_cents" in facts]
    assert 333 in [loss for _, loss in told], "while the bank had what was refunded before"
    assert told[-1] == ends
