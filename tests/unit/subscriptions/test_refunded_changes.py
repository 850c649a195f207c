"""A cycle of 28 days with changes of plan, refunds and an end: what stays of the plan's credits is
what each day had, without what a refund took of that day. The expected credits are counted by day.
"""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.money import ZERO, round_credits
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import SubscriptionChange
from tests.unit.subscriptions.test_unpaid_credits import ByTransfer

DAYS: Final = 28
CREDITS: Final = {"basic": 100, "pro": 500, "enterprise": 5000}
A_LITTLE: Final = Fraction(1, 10_000)
PRICES: Final = {"basic": 1900, "pro": 4900, "enterprise": 49900}


class Change(NamedTuple):
    """A change of plan, and the quarters that go back after it: of what the newest grant brought,
    and of what has not gone back of the one before it, for the time until this change.
    """

    day: int
    plan: str
    newest: int = 0
    before: int = 0


class ByCard(ByTransfer):
    """A customer on a monthly plan, whose refunds take credits from the ledger."""

    def __init__(self, plan: str) -> None:
        start = {"at": "2027-02-01T00:00:00Z", "plan": plan, "interval": "month"}
        plans = {key: {"month": minor, "year": 10 * minor} for key, minor in PRICES.items()}
        terms = {key: {"credits": each} for key, each in CREDITS.items()}
        super().__init__(1, plans=plans, terms=terms, start=start)
        self.begun = self.now
        self.by_day = [Fraction(CREDITS[plan], DAYS)] * DAYS
        self.grants = [next(iter(self.ledger))]
        self.days = [0]

    def facts(self) -> SubscriptionFacts:
        for one in self.rows.of(SubscriptionChange):
            if one.status == "applied":
                self._make_up(one.new_terms.credits_refunded)
        return super().facts()

    def _make_up(self, refunded: dict[str, Decimal]) -> None:
        for key, lot in self.ledger.items():
            if key in refunded and lot.made_up == ZERO:
                self.ledger[key] = lot.model_copy(update={"made_up": refunded[key]})

    def go(self, one: Change) -> None:
        """A change that is paid at once, and the refunds after it."""
        known = set(self.ledger)
        at = self.begun + timedelta(days=one.day)
        self.play({"at": at.isoformat(), "change": {"plan": one.plan, "when": "now"}})
        (key,) = set(self.ledger) - known or {""}
        self.by_day[one.day :] = [Fraction(CREDITS[one.plan], DAYS)] * (DAYS - one.day)
        self.grants.append(key)
        self.days.append(one.day)
        self.refund(-1, DAYS, one.newest)
        self.refund(-2, one.day, one.before)

    def refund(self, number: int, until: int, quarters: int) -> None:
        """So much of what a grant brought for the days up to then, and that is not back."""
        key, since = self.grants[number], self.days[number]
        if not key or not quarters or since == until:
            return
        lot = self.ledger[key]
        brought = Fraction(lot.granted) * Fraction(until - since, DAYS - since)
        share = max(Fraction(0), brought - Fraction(lot.refunded)) * quarters / 4
        # What a change has clawed back is not taken again.
        taken = min(lot.kept, round_credits(Decimal(share.numerator) / share.denominator))
        update = {
            "refunded": lot.refunded + taken,
            "kept": lot.kept - taken,
            "unspent": max(ZERO, lot.unspent - taken),
        }
        self.ledger[key] = lot.model_copy(update=update)
        for day in range(since, until):
            self.by_day[day] -= Fraction(taken) / (until - since)

    def end(self, day: int) -> None:
        """A cancel at once, with a credit."""
        self.now = self.begun + timedelta(days=day)
        self.do(lambda w: running.cancel(w, now=True, rest="credit"))

    def of_days(self, until: int) -> Fraction:
        return sum(self.by_day[:until], Fraction(0))


@pytest.mark.parametrize(
    ("changes", "day", "left"),
    [
        ((Change(7, "pro", newest=4),), 7, 25),
        ((Change(7, "pro", newest=2),), 7, 25),
        ((Change(7, "pro"), Change(14, "enterprise", newest=4)), 14, 25 + 125),
        ((Change(7, "pro", newest=4), Change(7, "basic")), 28, 100),
        ((Change(7, "pro", newest=4), Change(7, "enterprise")), 28, 25 + 3750),
        ((Change(7, "pro", before=4),), 7, 0),
        ((Change(7, "pro", before=4),), 14, 125),
    ],
)
def test_an_end_leaves_the_credits_of_the_time_that_was_served_and_paid(
    changes: tuple[Change, ...], day: int, left: int
) -> None:
    player = ByCard("basic")
    for one in changes:
        player.go(one)
    if day < DAYS:
        player.end(day)
    assert player.left == left


STEP: Final = st.builds(
    Change,
    day=st.integers(1, 5),
    plan=st.sampled_from(sorted(CREDITS)),
    newest=st.integers(0, 4),
    before=st.integers(0, 4),
)


@given(
    plan=st.sampled_from(sorted(CREDITS)),
    steps=st.lists(STEP, min_size=1, max_size=4),
    day=st.integers(0, 7),
)
def test_whatever_is_changed_and_refunded_each_day_keeps_its_credits(
    plan: str, steps: list[Change], day: int
) -> None:
    player, last = ByCard(plan), 0
    for one in steps:
        if one.plan != plan:
            plan, last = one.plan, last + one.day
            player.go(one._replace(day=last))
    assert abs(Fraction(player.left) - player.of_days(DAYS)) < A_LITTLE
    player.end(last + day)
    assert abs(Fraction(player.left) - player.of_days(last + day)) < A_LITTLE


def test_a_bank_that_takes_what_paid_for_the_rest_too_lowers_what_an_end_asks_for() -> None:
    player = ByCard("basic")
    player.go(Change(7, "pro"))
    player.refund(0, DAYS, 4)
    assert player.left == 300
    player.end(14)
    assert player.left == 100, "a week of pro, without that of basic"


def test_time_used_while_a_change_waits_keeps_its_credits_without_what_a_refund_took() -> None:
    player = ByCard("basic")
    player.refund(0, DAYS, 2)
    player.now += timedelta(days=7)
    player.ask({"at": player.now.isoformat(), "change": {"interval": "year"}})
    player.used_share = Decimal("0.5")
    player.pay()
    assert player.left == 25 + 100, "of two weeks the half, and those of the new cycle"


def test_credits_that_are_spent_in_the_time_before_a_refunded_change_hinder_no_end() -> None:
    player = ByCard("basic")
    player.spend(Fraction(1, 5))
    player.go(Change(7, "pro", newest=4))
    player.end(7)
    assert player.left == 5


@pytest.mark.parametrize("plan", ["", "basic"])
def test_the_credits_that_stay_are_those_of_the_invoice_that_charged_their_time(plan: str) -> None:
    player = ByCard("basic")
    player.go(Change(7, "pro"))
    if plan:
        player.go(Change(7, plan))
    else:
        player.end(7)
    assert {key: one.kept for key, one in player.ledger.items() if one.kept} == {
        player.grants[0]: 100 if plan else 25
    }
