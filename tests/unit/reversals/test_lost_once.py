"""Later invoices credit one whose money a bank takes: they bear its loss once."""

from collections import Counter
from uuid import UUID

import pytest

from billing.money.disputes.schemas import Dispute
from billing.money.invoices import notes
from billing.money.invoices.lost_money import unbacked
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine
from billing.money.refunds.remaining import creditable
from tests.unit.reversals.story import INVOICE, Story, act
from tests.unit.reversals.test_later_charges import NO_TAX, move

FIRST, SECOND = UUID(int=1000), UUID(int=1001)
OTHER = UUID(int=999)


@pytest.mark.parametrize("part", [100, 300, 600, 800, 1000])
@pytest.mark.parametrize("verdict", ["needs_response", "lost"])
def test_a_loss_is_borne_once_by_all_that_credit_its_invoice(part: int, verdict: str) -> None:
    """Of 1000 they credit 400 and 300, and charge 500 and 400 more."""
    story = Story(1000, 0)
    move(story, INVOICE, FIRST, 400, own=500)
    move(story, INVOICE, SECOND, 300, own=400)
    for one in (("dispute", "needs_response", part), ("hear",), ("decide", verdict), ("hear",)):
        act(story, one)
    [dispute] = story.rows.of(Dispute)
    assert dispute.loss_minor == max(0, part - 300)
    later = [story.rows.get(Invoice, one) for one in (FIRST, SECOND)]
    assert sum(unbacked(story.rows, one) for one in later) == dispute.loss_minor
    left = sum(creditable(story.rows, one) for one in later)
    assert left == 900 + 700 - dispute.loss_minor


@pytest.mark.parametrize("parts", [(500,), (200, 300), (250, 250), (100, 150, 250)])
def test_a_credit_note_takes_the_money_that_is_here(parts: tuple[int, ...]) -> None:
    """A charge of 900 credits 400 of an invoice whose money a bank takes, and 300 of another."""
    story = Story(1000, 0)
    paid_by_two(story)
    for one in (("dispute", "needs_response", 1000), ("hear",), ("decide", "lost"), ("hear",)):
        act(story, one)

    def later() -> Invoice:
        return story.rows.get(Invoice, FIRST)

    assert (creditable(story.rows, later()), unbacked(story.rows, later())) == (500, 400)
    for place, minor in enumerate(parts):
        w = story.work()
        notes.credit_note(w, later(), NewNote("operator", minor, "r", str(place)), to_balance=True)
    assert (creditable(story.rows, later()), unbacked(story.rows, later())) == (0, 400)
    on = Counter[UUID]()
    for note in story.rows.of(CreditNote):
        on[note.invoice_id] += note.amount_minor
    assert on == {INVOICE: 600, FIRST: 200, OTHER: 300}, "600 is the dispute's"


def paid_by_two(story: Story) -> None:
    """Add a charge of 900 that 400 of the disputed invoice pay, 300 of another one, and 200."""
    w, paid = story.work(), story.rows.get(Invoice, INVOICE)
    sums = ("subtotal_minor", "total_minor", "amount_due_minor", "amount_paid_minor")
    w.add(paid.model_copy(update=dict.fromkeys(sums, 500) | NO_TAX | {"id": OTHER}))
    line = story.rows.of(InvoiceLine)[0].model_copy(update=NO_TAX | {"taxes": []})
    w.add(
        line.model_copy(
            update={"id": UUID(int=next(story.numbers)), "invoice_id": OTHER, "amount_minor": 500}
        )
    )
    move(story, INVOICE, FIRST, 700, own=200)
    credit = next(one for one in story.rows.of(InvoiceLine) if one.credited_invoice_id is not None)
    w.change(credit, amount_minor=-400)
    of_other = {"position": 3, "amount_minor": -300, "detail": {"invoice": str(OTHER)}}
    w.add(credit.model_copy(update=of_other | {"id": UUID(int=next(story.numbers))}))
