"""Money that went back takes its share of credits that come later, and of no others."""

from decimal import Decimal
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


@pytest.mark.parametrize("left", [0, 60], ids=["spent", "not spent"])
def test_a_note_in_freed_room_takes_its_share_of_what_is_here_then_alone(left: int) -> None:
    """The mark that it waited stayed where no credits were due, and took those of a later month."""
    story = Story(1000, 0)
    story.lot["asked"] = CREDITS - left
    for one in ("upgrade", 600), ("dashboard", 600), ("hear",):
        act(story, one)
    (waits,) = story.rows.of(Refund)
    assert (waits.note_minor, waits.short_minor) == (400, 200)
    story.decide_upgrade("void")
    (noted,) = story.rows.of(Refund)
    assert (noted.note_minor, noted.wanted_minor) == (600, 0)
    assert story.lot["asked"] == CREDITS, "what is left of the share"
    story.lot["asked"] = Decimal(0)  # those of the next month
    assert placing.unplaced(story.work()) is None


def test_a_share_of_what_came_after_a_note_in_freed_room_is_a_step_of_its_own() -> None:
    story = Story(1000, 0)
    story.lot["asked"] = CREDITS
    for one in ("upgrade", 600), ("dashboard", 600), ("hear",):
        act(story, one)
    story.decide_upgrade("void")
    story.lot["asked"] = Decimal(0)
    refunds.take_from_grant(story.work(), story.rows.get(Invoice, INVOICE), CAME)
    story.settle()
    assert story.lot["asked"] == CREDITS * 6 / 10
