"""A card of a fraud stays barred while a bank has the money, also in another currency; and top-ups
stop with each step by which a bank takes or keeps money.
"""

import pytest

from billing.matters.effects import Do
from billing.money.disputes.schemas import Dispute
from billing.money.refunds.rules import DisputeOutcome, Taken
from billing.money.reversals import transitions
from billing.money.reversals.disputing import BAR, FREE, STOP
from tests.unit.reversals.story import Story


def judged(story: Story, status: str, *, is_withdrawn: bool = False) -> list[str]:
    """The verbs for its card after the provider tells this of a dispute in another currency."""
    verbs = told(story, status, "JPY", is_withdrawn=is_withdrawn)
    return [verb for verb in verbs if verb in (BAR, FREE)]


def told(
    story: Story,
    status: str,
    currency: str,
    reason: str = "fraudulent",
    *,
    is_withdrawn: bool = False,
) -> list[str]:
    """The verbs that follow what the provider tells of the dispute."""
    heard = DisputeOutcome(
        dispute_id="dp_1", status=status, amount_minor=999, currency=currency, reason=reason,
        is_withdrawn=is_withdrawn,
    )  # fmt: skip
    w = story.work()
    transitions.take_in(w, Taken(refunds=(), disputes=(heard,)))
    story.follow(w.effects)
    story.hold_true()
    return [one.verb for one in w.effects if isinstance(one, Do)]


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


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
@pytest.mark.parametrize(
    ("statuses", "stops"),
    [
        ("warning_needs_response warning_under_review needs_response under_review lost", "10101"),
        ("warning_needs_response needs_response won", "110"),
        ("warning_needs_response warning_closed", "10"),
        ("warning_needs_response lost appeal_under_review won", "1100"),
    ],
)
def test_top_ups_stop_again_once_the_bank_takes_the_money_and_once_it_keeps_it(
    statuses: str, stops: str, currency: str
) -> None:
    story = Story(999, 0)
    told_of = [told(story, status, currency, "general") for status in statuses.split()]
    assert "".join(str(int(STOP in verbs)) for verbs in told_of) == stops


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_top_ups_stop_again_once_a_prevented_dispute_takes_its_money(currency: str) -> None:
    story = Story(999, 0)
    assert STOP in told(story, "prevented", currency, "general")
    assert STOP not in told(story, "prevented", currency, "general")
    assert STOP in told(story, "prevented", currency, "general", is_withdrawn=True)
