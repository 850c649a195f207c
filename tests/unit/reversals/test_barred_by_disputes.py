"""A card of a fraud stays barred while a bank has the money, also in another currency."""

import pytest

from billing.matters.effects import Do
from billing.money.disputes.schemas import Dispute
from billing.money.refunds.rules import DisputeOutcome, Taken
from billing.money.reversals import transitions
from billing.money.reversals.disputing import BAR, FREE
from tests.unit.reversals.story import Story


def judged(story: Story, status: str, *, is_withdrawn: bool = False) -> list[str]:
    """The verbs for its card after the provider tells this of a dispute in another currency."""
    told = DisputeOutcome(
        dispute_id="dp_1", status=status, amount_minor=90_000, currency="JPY", reason="fraudulent",
        is_withdrawn=is_withdrawn,
    )  # fmt: skip
    w = story.work()
    transitions.take_in(w, Taken(refunds=(), disputes=(told,)))
    story.follow(w.effects)
    story.hold_true()
    verbs = (one.verb for one in w.effects if isinstance(one, Do))
    return [verb for verb in verbs if verb in (BAR, FREE)]


@pytest.mark.parametrize("between", [(), ("appeal_under_review",)])
def test_a_fraud_in_another_currency_that_is_won_after_it_was_lost_frees_its_card(
    between: tuple[str, ...],
) -> None:
    story = Story(999, 0)
    assert set(judged(story, "lost", is_withdrawn=True)) == {BAR}
    assert judged(story, "lost", is_withdrawn=True) == []
    for status in between:
        assert judged(story, status, is_withdrawn=True) == [], "an appeal changes nothing"
    assert judged(story, "won")[-1] == FREE
    [row] = story.rows.of(Dispute)
    assert (row.state, row.status) == ("closed", "won")


def test_a_prevented_fraud_in_another_currency_frees_its_card_once_its_money_is_back() -> None:
    story = Story(999, 0)
    assert set(judged(story, "prevented", is_withdrawn=True)) == {BAR}
    assert judged(story, "prevented", is_withdrawn=True) == []
    assert judged(story, "prevented") == [FREE]
    assert judged(story, "prevented", is_withdrawn=True) == [BAR]
    [row] = story.rows.of(Dispute)
    assert (row.state, row.status, row.note_minor) == ("closed", "lost", 0)


def test_a_prevented_fraud_that_took_nothing_frees_its_card() -> None:
    assert judged(Story(999, 0), "prevented")[-1] == FREE
