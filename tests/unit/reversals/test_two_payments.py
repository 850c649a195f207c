"""A pack that was paid by two payments, of which a bank takes one and gives it back later."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest

from billing.matters.agenda import Step
from billing.matters.effects import Work
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.payments.schemas import Payment
from billing.money.purchases.schemas import Purchase
from billing.money.refunds import transitions as refunds
from billing.money.refunds.rules import DisputeOutcome
from billing.money.reversals import transitions
from tests.unit.reversals.story import AT, CREDITS, INVOICE, ME, PAYMENT, Story

BY_HAND: Final = UUID(int=7)
PACK: Final[dict[str, Any]] = {
    "account_id": ME, "currency": "EUR", "flow": "card", "pack": "small", "pack_name": "Small",
    "platform": "stripe", "status": "completed", "created_at": AT, "expires_at": AT,
}  # fmt: skip


def paid_twice(overpaid: int) -> Story:
    """500 by hand and 499 by a card, which may bring more: that is on the money balance."""
    story = Story(999, overpaid)
    w = story.work()
    w.change(story.rows.get(Invoice, INVOICE), purchase_id=UUID(int=8))
    card = w.change(
        story.rows.get(Payment, PAYMENT), amount_minor=499, received_minor=499 + overpaid
    )
    other = {"id": BY_HAND, "flow": "manual", "status": "completed", "intent_key": "h"}
    w.add(card.model_copy(update=other | {"amount_minor": 500, "received_minor": 500}))
    w.add(Purchase(id=UUID(int=8), credits=CREDITS, amount_minor=999, invoice_id=INVOICE, **PACK))
    return story


def refund_by_hand(story: Story) -> None:
    by_hand = story.rows.get(Payment, BY_HAND)
    row = refunds.ask(
        story.work(), by_hand, refund_id=UUID(int=next(story.numbers)), amount_minor=None,
        reason="r", way="outside", reference="TRX-1",
    )  # fmt: skip
    w = Work(story.rows, replace(story.work().facts, payment_id=BY_HAND))
    transitions.transition(w, Step(name="refund", due=AT, key=row.key))
    story.follow(w.effects)


def sums(story: Story) -> tuple[str, int, int, Decimal]:
    """The pack's state, what is credited of it, the money balance, and the credits taken back."""
    [pack] = story.rows.of(Purchase)
    noted = sum(one.amount_minor for one in story.rows.of(CreditNote))
    balance = sum(one.amount_minor for one in story.rows.of(BalanceEntry))
    return pack.status, noted, balance, round(story.lot["asked"], 2)


def play(story: Story, act: str, amount: int) -> None:
    if act == "refund":
        refund_by_hand(story)
        return
    story.disputes["dp"] = DisputeOutcome(
        dispute_id="dp", status=act, amount_minor=amount, currency="EUR", reason="general"
    )
    story.hear()


@pytest.mark.parametrize("overpaid", [0, 500])
def test_a_part_that_a_bank_took_and_gave_back_is_money_and_the_other_keeps_its_credits(
    overpaid: int,
) -> None:
    story = paid_twice(overpaid)
    for act in ("needs_response", "lost", "won"):
        play(story, act, 499 + overpaid)
    assert sums(story) == ("completed", 499, 499 + overpaid, Decimal("49.95"))
    play(story, "refund", 0)
    # What is on the balance goes back first: it bought nothing.
    left = ("completed", 499, 499, Decimal("49.95"))
    assert sums(story) == (left if overpaid else ("refunded", 999, 499, CREDITS))


@pytest.mark.parametrize("overpaid", [0, 500])
@pytest.mark.parametrize(
    "acts", ["needs_response lost refund won", "refund needs_response lost won"]
)
def test_a_pack_of_which_all_money_went_back_stays_refunded_when_a_part_is_won(
    acts: str, overpaid: int
) -> None:
    story = paid_twice(overpaid)
    for act in acts.split():
        play(story, act, 499 + overpaid)
    assert sums(story) == ("refunded", 999, 499 + overpaid, CREDITS)
    statuses = {one.id: one.status for one in story.rows.of(Payment)}
    assert statuses == {PAYMENT: "succeeded", BY_HAND: "refunded"}
