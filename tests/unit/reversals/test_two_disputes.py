"""Two disputes that wait for the same room: each takes the credits of its own money alone."""

import pytest

from tests.unit.reversals.story import CREDITS, Story, act
from tests.unit.reversals.test_carried_debts import judged


@pytest.mark.parametrize("winner", ["first", "second"])
@pytest.mark.parametrize("held", ["refund", "change"])
def test_a_dispute_that_is_won_returns_the_credits_of_its_own_money(held: str, winner: str) -> None:
    """Of 1000 all is reserved while banks take 100 and 300. Once it is free, these are a tenth and
    three tenths of the price, and of the credits; who wins has its own back.
    """
    story = Story(1000, 0)
    amounts = {"first": 100, "second": 300}
    if held == "refund":
        story.ask(1000, "provider", "failed")
    else:
        story.upgrade(1000)
    for name, amount in amounts.items():
        judged(story, name, "needs_response", amount)
    if held == "refund":
        story.tell()
    else:
        act(story, ("decide_upgrade", "void"))
    assert story.lot["asked"] == 40
    judged(story, winner, "won", amounts[winner])
    assert story.lot["asked"] == 40 - CREDITS * amounts[winner] / 1000
