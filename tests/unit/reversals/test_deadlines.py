"""Reminders of a dispute's deadline: those that are due together are one, and none comes late."""

from datetime import timedelta

import pytest

from billing.matters.agenda import Step
from billing.money.disputes.schemas import Dispute
from billing.money.reversals import transitions
from tests.unit.reversals.story import AT, Story, act

SENT = "dispute.evidence_due"


@pytest.mark.parametrize(
    ("left", "sent"),
    [
        (timedelta(days=4), 0),
        (timedelta(days=3), 1),
        (timedelta(hours=12), 1),
        (timedelta(0), 0),
        (-timedelta(days=9), 0),
    ],
)
def test_a_dispute_that_is_heard_late_reminds_once_or_not_at_all(
    left: timedelta, sent: int
) -> None:
    story = Story(1000, 0)
    act(story, ("dispute", "needs_response", None))
    story.hear()
    (row,) = story.rows.of(Dispute)
    story.work().change(row, evidence_due_at=AT + left)
    steps = 0
    while due := [one for one in open_steps(story) if one.name == "remind" and one.due <= AT]:
        w = story.work()
        transitions.transition(w, due[0])
        story.follow(w.effects)
        steps += 1
        assert steps <= 1, "one step sends or skips all that are due"
    assert story.announced.count(SENT) == sent
    if left > timedelta(days=1):
        assert [one.name for one in open_steps(story)] == ["remind"], "the next one comes"


@pytest.mark.parametrize("asks", ["warning_needs_response", "needs_response"])
def test_of_a_dispute_that_is_answered_nobody_is_reminded(asks: str) -> None:
    story = Story(1000, 0)
    act(story, ("dispute", asks, None))
    story.hear()
    (row,) = story.rows.of(Dispute)
    row = story.work().change(row, evidence_due_at=AT)
    assert [one.name for one in open_steps(story)] == ["remind"]
    row = story.work().change(row, status=asks.replace("needs_response", "under_review"))
    assert open_steps(story) == []
    story.work().change(row, status=asks)
    assert [one.name for one in open_steps(story)] == ["remind"], "its bank asks again"


def open_steps(story: Story) -> list[Step]:
    return transitions.RULES.agenda(transitions.RULES.view(story.rows, story.work().facts))
