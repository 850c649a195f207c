"""Changes at one instant leave the period that they begin its own minimum: what is credited of a
charge that an earlier invoice's money has paid lowers the spending of that charge's time.
"""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worked.player import Player

CASE: Final = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {
        "la": {"year": 12000, "month": 1000},
        "lb": {"year": 24000, "month": 2000},
        "lm": {"year": 12000, "month": 1000},
    },
    "terms": {"lm": {"minimum": 3000}},
    "start": {"at": "2027-02-15T10:00:00Z", "plan": "la", "interval": "year"},
}
MONTHLY: Final = {"plan": "lm", "interval": "month", "when": "now"}


def missing(changes: list[dict[str, str]], days: int) -> list[tuple[int, int]]:
    """The minimum of a month that begins on 25 February with the last of these changes, and ends
    after so many days: its amount, and what counted as spent.
    """
    player = Player(CASE)
    for wish in changes:
        player.play({"at": "2027-02-25T10:00:00Z", "change": wish})
    ended = player.play({"at": f"2027-03-{days:02}T10:00:00Z", "cancel": "credit"})
    found = [line for line in ended if line.kind == "minimum"]
    return [(one.amount_minor, one.detail["spent_minor"]) for one in found]


def test_a_change_between_two_others_dodges_no_minimum() -> None:
    yearly = {"plan": "lm", "interval": "year", "when": "now"}
    assert missing([MONTHLY], 17) == missing([yearly, MONTHLY], 17) == [(1429, 714)]


@given(plans=st.lists(st.sampled_from(["la", "lb", "lm"]), max_size=3), days=st.integers(1, 24))
def test_a_minimum_is_the_same_by_whichever_changes_its_period_comes(
    plans: list[str], days: int
) -> None:
    between = [{"plan": key, "interval": "year", "when": "now"} for key in plans]
    assert missing([*between, MONTHLY], days) == missing([MONTHLY], days)
