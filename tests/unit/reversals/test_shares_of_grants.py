"""Money that went back takes its share of credits that come later, and of no others."""

from typing import Final

import pytest

from billing.money.invoices.schemas import Invoice
from billing.money.refunds import transitions as refunds
from billing.money.refunds.schemas import Refund
from billing.money.reversals import placing
from tests.unit.reversals.story import CREDITS, INVOICE, Story, act

CAME: Final = "lot"


def half_back(*, found: bool) -> Story:
    """Half of the money went back; the refund found the credits there, or none yet."""
    story = Story(1000, 0)
    act(story, ("ask", 500, "provider", "succeeded"))
    act(story, ("tell",))
    assert story.lot["asked"] == CREDITS / 2
    if not found:
        story.lot["asked"] -= CREDITS / 2
        (refund,) = story.rows.of(Refund)
        story.work().change(refund, credits=[])
    return story


@pytest.mark.parametrize("found", [True, False])
def test_a_share_of_what_came_later_is_taken_once(found: bool) -> None:
    story = half_back(found=found)
    refunds.take_from_grant(story.work(), story.rows.get(Invoice, INVOICE), CAME)
    story.settle()
    assert story.lot["asked"] == CREDITS / 2
    assert placing.unplaced(story.work()) is None, "nothing is waited for then"


def test_a_grant_that_was_gone_before_its_share_was_taken_leaves_later_ones_alone() -> None:
    story = half_back(found=False)
    refunds.take_from_grant(story.work(), story.rows.get(Invoice, INVOICE), "of the month before")
    assert placing.unplaced(story.work()) is None, "what is here now is of another month"
    assert story.lot["asked"] == 0
