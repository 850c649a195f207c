"""Changes that each begin a new period, before the invoice of the first one is paid: whoever pays
all of it in the end has the credits of the time that each plan served, whatever was paid when.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from billing.core.errors import Conflict
from tests.unit.subscriptions.test_unpaid_credits import ByTransfer

CREDITS: Final = {"team": 3000, "lite": 300, "bare": 0}
INTERVALS: Final = ("month", "year")
SECOND: Final = timedelta(seconds=1)
Step = tuple[str, bool, int]
"""The plan, if the interval is another one, and the hours until then."""
STEP = st.tuples(st.sampled_from(sorted(CREDITS)), st.booleans(), st.integers(0, 170))


class Renewed(ByTransfer):
    """A customer whose second month is not paid yet, and the credits that each cycle has earned."""

    def __init__(self) -> None:
        plans = {key: {"month": 1000 + 10 * had, "year": 9000 + 90 * had}
                 for key, had in CREDITS.items()}  # fmt: skip
        terms = {key: {"credits": had} for key, had in CREDITS.items()}
        start = {
            "at": "2027-04-01T10:00:00Z", "plan": "team", "interval": "month",
            "collection": "send_invoice", "days": 60,
        }  # fmt: skip
        super().__init__(1, plans=plans, terms=terms, start=start)
        self.renew()
        self.served, self.since = Fraction(0), self.now

    def change_to(self, plan: str, other: bool, hours: int) -> None:
        """The plan that was had has brought credits for its part of the cycle."""
        self.now += timedelta(hours=hours)
        earned = self.earned(self.now)
        is_yearly = (self.subscription.interval_unit == "year") is not other
        wish = {"plan": plan, "interval": INTERVALS[is_yearly], "when": "now"}
        with suppress(Conflict):  # the plan and interval that it has
            self.ask({"at": self.now.isoformat(), "change": wish})
            self.served, self.since = self.served + earned, self.now

    def earned(self, until: datetime) -> Fraction:
        """The credits of the plan since the last change."""
        row = self.subscription
        cycle = (row.cycle_end - row.cycle_start) // SECOND
        return CREDITS[row.plan_key] * Fraction((until - self.since) // SECOND, cycle)


@given(steps=st.lists(STEP, min_size=1, max_size=4), sooner=st.integers(0, 4))
@example(steps=[("lite", True, 240), ("bare", True, 100)], sooner=4)
def test_what_is_paid_after_several_new_periods_brings_the_credits_of_its_time(
    steps: list[Step], sooner: int
) -> None:
    player = Renewed()
    for number, (plan, other, hours) in enumerate(steps):
        if number == sooner:
            player.transfer(Fraction(1))
        player.change_to(plan, other, hours)
    player.transfer(Fraction(1))
    expected = player.served + player.earned(player.subscription.cycle_end)
    assert abs(Fraction(player.kept) - expected) < 1
