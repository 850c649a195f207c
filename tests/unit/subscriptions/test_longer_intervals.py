"""A change to a longer interval comes at once, and one to a shorter with the next period."""

import pytest

from billing.catalog.plans.rules import parse_interval
from billing.core.periods import Interval
from tests.unit.worked.player import Player

SOLD = {"12 months": 49000, "year": 48000, "366 days": 100, "4 weeks": 60000, "month": 100}


@pytest.mark.parametrize(
    ("before", "after", "is_at_once"),
    [
        ("12 months", "year", False),
        ("year", "12 months", True),
        ("year", "366 days", True),
        ("366 days", "year", False),
        ("4 weeks", "month", True),
        ("month", "4 weeks", False),
    ],
)
def test_what_is_longer_is_told_by_the_average_length(
    before: str, after: str, is_at_once: bool
) -> None:
    begins = {"at": "2027-02-01T00:00:00Z", "plan": "pro", "interval": before}
    player = Player({"currency": "USD", "zone": "UTC", "plans": {"pro": SOLD}, "start": begins})
    daily = {"allowance": Interval(unit="day")}
    player.plans["pro"] = player.plans["pro"].model_copy(update=daily)
    player.play({"at": "2027-02-10T00:00:00Z", "change": {"interval": after}})
    now = parse_interval(after if is_at_once else before)
    assert player.subscription.interval == now
