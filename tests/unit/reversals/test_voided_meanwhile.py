"""An invoice, or a use, is voided while money paid for it goes back: the money goes one way."""

import pytest

from billing.core.errors import Conflict
from billing.money.invoice_requests import corrections
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine
from billing.money.payments.schemas import Payment
from tests.unit.reversals.story import INVOICE, PAYMENT, Story, act

TOTAL, PART = 1000, 600


class Partly(Story):
    """An invoice that its payer has paid a part of."""

    def __init__(self) -> None:
        super().__init__(TOTAL, 0)
        w, self.paid = self.work(), PART
        invoice, payment = self.rows.get(Invoice, INVOICE), self.rows.get(Payment, PAYMENT)
        w.change(invoice, status="open", amount_paid_minor=PART, paid_at=None, settlement=None)
        w.change(payment, received_minor=PART)

    def void(self) -> None:
        corrections.void(self.work(), INVOICE, reason="never ordered")


@pytest.mark.parametrize(("fate", "kept"), [("succeeded", 0), ("failed", PART)])
def test_a_refund_on_its_way_comes_before_the_void(fate: str, kept: int) -> None:
    story = Partly()
    story.ask(PART, "provider", fate)
    with pytest.raises(Conflict) as refused:
        story.void()
    assert (refused.value.code, story.balance) == ("PAYMENT_PENDING", 0)
    story.tell()
    story.void()
    assert story.rows.get(Invoice, INVOICE).status == "void"
    assert story.balance == kept, "what went back is not on the balance, too"
    assert sum(one.amount_minor for one in story.rows.of(CreditNote)) == TOTAL


def test_a_dispute_is_decided_before_the_void() -> None:
    story = Partly()
    act(story, ("dispute", "needs_response", None))
    story.hear()
    with pytest.raises(Conflict):
        story.void()
    act(story, ("decide", "won"))
    story.hear()
    story.void()
    assert story.balance == PART


@pytest.mark.parametrize(("fate", "left"), [("succeeded", 0), ("failed", TOTAL)])
def test_a_refund_on_its_way_comes_before_the_note_of_a_voided_use(fate: str, left: int) -> None:
    story = Story(TOTAL, 0)
    (line,) = story.rows.of(InvoiceLine)
    story.work().change(line, kind="single_use")

    def question() -> tuple[int, bool]:
        return corrections.left_of_use(story.work(), INVOICE, amount=TOTAL, to="balance")

    assert question() == (TOTAL, False)
    story.ask(TOTAL, "provider", fate)
    assert question() == (0, True)
    story.tell()
    assert question() == (left, False)
