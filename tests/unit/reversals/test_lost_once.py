"""Two later invoices credit one whose money a bank takes: they bear its loss once."""

from uuid import UUID

import pytest

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import Invoice
from billing.money.refunds.remaining import creditable, unbacked
from tests.unit.reversals.story import INVOICE, Story, act
from tests.unit.reversals.test_later_charges import move

FIRST, SECOND = UUID(int=1000), UUID(int=1001)


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
