"""A renewal that also charged a debt, and whose payer sent too much, which is spent: banks take the
debt first, at once or in parts.
"""

from typing import Final
from uuid import UUID

import pytest

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from tests.unit.reversals.story import INVOICE, PAYMENT, Story, act

DEBT: Final = 20


def renewed(*, spends: bool = True) -> Story:
    """A price of 30, a debt of 20, and 10 beyond that, or else 30 more of the customer's."""
    story = Story(30, 10)
    w = story.work()
    billed = story.rows.get(Invoice, INVOICE)
    w.change(billed, amount_due_minor=50, amount_paid_minor=50, balance_applied_minor=-DEBT)
    w.change(story.rows.get(Payment, PAYMENT), amount_minor=50, received_minor=60)
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


def test_what_was_sent_too_much_goes_back_without_a_note_after_a_bank_took_the_debt() -> None:
    story = renewed(spends=False)
    for one in (("dispute", "needs_response", DEBT), ("hear",), ("dashboard", 10), ("hear",)):
        act(story, one)
    [refund] = story.rows.of(Refund)
    assert (refund.note_minor, refund.balance_minor) == (0, 10)
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 10 + 30 - DEBT - 10
    assert story.lot["asked"] == 0, "the price is paid"
