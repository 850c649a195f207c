"""A change of plan before the money came that brings the credits of the cycle."""

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pytest

from billing.core.money import round_exact
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import payment_effects
from tests.unit.worked.player import Player

PLANS: Final = {
    "pro": {"month": 4900, "year": 49000},
    "basic": {"month": 1900, "year": 19000},
    "enterprise": {"month": 49900, "year": 499000},
}
CREDITS: Final = {"pro": 1000, "basic": 100, "enterprise": 5000}
BY_TRANSFER: Final = {
    "at": "2027-02-01T00:00:00Z", "plan": "pro", "collection": "send_invoice", "days": 60,
}  # fmt: skip
LATER: Final = "2027-03-02T00:00:00Z"
"""A day of the 31 of its cycle is over."""


def renewed(interval: str = "month", step: str = "renews") -> Player:
    """A subscription whose invoice of the period is open, with nothing granted in the cycle."""
    player = Player({
        "currency": "USD", "zone": "UTC", "plans": PLANS,
        "terms": {plan: {"credits": amount} for plan, amount in CREDITS.items()},
        "start": BY_TRANSFER | {"interval": interval},
    })  # fmt: skip
    if step == "cycle":
        # Its year is open too: the money of the first one was taken back.
        (first,) = player.rows.of(Invoice)
        player.do(lambda w: w.change(first, status="open", paid_at=None, amount_paid_minor=0))
    player.lots = ()
    player.ask({"at": "2027-03-01T00:00:00Z", step: True})
    assert player.granted == 0
    return player


def by_the_second(plan: str) -> Decimal:
    """The credits of pro for the time that has passed, and of the other plan for the rest."""
    passed = Fraction(1, 31)
    exact = CREDITS["pro"] * passed + CREDITS[plan] * (1 - passed)
    return Decimal(round_exact(exact * 10**6)) / 10**6


@pytest.mark.parametrize("plan", ["basic", "enterprise"])
@pytest.mark.parametrize(("interval", "step"), [("month", "renews"), ("year", "cycle")])
def test_the_money_brings_what_is_left_for_each_plan(plan: str, interval: str, step: str) -> None:
    player = renewed(interval, step)
    player.ask({"at": LATER, "change": {"plan": plan, "when": "now"}})
    at_once = player.granted
    later = player.paid("2027-03-03T00:00:00Z")
    assert abs(at_once + later - by_the_second(plan)) <= Decimal("0.000002"), (at_once, later)


def test_a_new_period_that_is_paid_later_brings_its_credits_once() -> None:
    player = renewed()
    player.ask({"at": LATER, "change": {"plan": "enterprise", "interval": "year"}})
    at_once = player.granted
    later = player.paid("2027-03-03T00:00:00Z")
    wanted = 5000 + by_the_second("pro") / 31
    assert abs(at_once + later - wanted) <= Decimal("0.000002"), (at_once, later)


def test_credits_that_were_given_up_are_taken_off_nothing() -> None:
    player = renewed()
    owed = player.rows.of(Invoice)[-1]
    player.do(lambda w: invoices.mark_uncollectible(w, owed))
    player.ask({"at": LATER, "change": {"plan": "enterprise"}})
    assert player.granted == round(Decimal(5000 * 30) / 31, 6)
    player.granted = Decimal(0)
    late: Any = player.rows.get(Invoice, owed.id)
    player.do(lambda w: payment_effects.on_paid(w, invoices.receive(w, late, late.remaining_minor)))
    assert player.granted == round(Decimal(1000) / 31, 6), "of the time until the change"
