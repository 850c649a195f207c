"""Credits that come with a change by transfer, before their payment: who ends or pauses then keeps
no more of them than were paid for, or are owed, however many changes there were.
"""

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.errors import Conflict
from billing.core.money import ZERO
from billing.matters.effects import Do, Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.facts import PlanLot, SubscriptionFacts
from tests.unit.worked.player import Player

SEAT_MINOR = 3_000_000
SEAT_CREDITS = 3000
STEP = st.tuples(st.integers(1, 9), st.integers(0, 200), st.integers(0, 4))
"""Seats; the hours until they come; the quarters of the debt that are paid after that."""


class ByTransfer(Player):
    """A customer who is sent invoices, with a ledger of credits; the first period is paid."""

    def __init__(self, seats: int, **others: Any) -> None:
        self.ledger: dict[str, PlanLot] = {}
        self.over_minor = 0
        super().__init__(
            {
                "currency": "USD", "zone": "UTC", "plans": {"team": {"month": SEAT_MINOR}},
                "terms": {"team": {"seats": True, "credits": SEAT_CREDITS}},
                "start": {
                    "at": "2027-04-01T10:00:00Z", "plan": "team", "interval": "month",
                    "quantity": seats, "collection": "send_invoice", "days": 60,
                },
            }
            | others
        )  # fmt: skip

    def facts(self) -> SubscriptionFacts:
        self.lots = tuple(self.ledger.values())
        return super().facts()

    def _keep(self, work: Work[SubscriptionFacts]) -> None:
        for one in work.effects:
            if not isinstance(one, Do):
                continue
            told = one.arguments
            if one.verb == "grant":
                key, amount = str(told["key"]), Decimal(str(told["amount"]))
                self.ledger[key] = PlanLot(
                    grant_key=key, granted=amount, unspent=amount, kept=amount
                )
            elif one.verb == "clawback":
                lot, amount = self.ledger[str(told["grant_key"])], Decimal(str(told["amount"]))
                fewer = {"unspent": lot.unspent - amount, "kept": lot.kept - amount}
                self.ledger[lot.grant_key] = lot.model_copy(update=fewer)

    @property
    def left(self) -> Decimal:
        """The credits that are left."""
        return sum((one.unspent for one in self.ledger.values()), ZERO)

    @property
    def kept(self) -> Decimal:
        """These, and those that are spent."""
        return sum((one.kept for one in self.ledger.values()), ZERO)

    @property
    def paid_for(self) -> Fraction:
        """The credits that money has bought, without that of the customer's balance."""
        minor = sum(one.amount_paid_minor for one in self.rows.of(Invoice)) - self.balance
        minor -= self.over_minor
        return Fraction(minor * SEAT_CREDITS, SEAT_MINOR)

    @property
    def owed(self) -> Fraction:
        """Those that are still to be paid."""
        minor = sum(one.outstanding_minor for one in self.rows.of(Invoice))
        return Fraction(minor * SEAT_CREDITS, SEAT_MINOR)

    def spend(self, part: Fraction) -> None:
        """So much of what is left, the oldest first."""
        left = Decimal(int(self.left * part.numerator / part.denominator))
        for key, one in self.ledger.items():
            taken = min(left, one.unspent)
            left -= taken
            self.ledger[key] = one.model_copy(update={"unspent": one.unspent - taken})

    def renew(self) -> None:
        """Another period, which is not paid yet; the credits of the one that is over expire."""
        self.over_minor = sum(one.amount_paid_minor for one in self.rows.of(Invoice))
        self.ask({"at": self.subscription.current_period_end.isoformat(), "renews": True})
        self.ledger.clear()

    def step(self, seats: int, hours: int, quarters: int) -> None:
        """A change of the number of seats, and a part of what is owed, newest first."""
        self.now += timedelta(hours=hours)
        with suppress(Conflict):  # the seats that it has
            self.ask({"at": self.now.isoformat(), "change": {"quantity": seats, "when": "now"}})
        self.transfer(Fraction(quarters, 4))

    def transfer(self, part: Fraction) -> None:
        """So much of each invoice that is owed."""
        for one in self.rows.of(Invoice):
            minor = int(one.outstanding_minor * part) if one.status == "open" else 0
            if minor:
                self.do(lambda w, one=one, minor=minor: self._take(w, one, minor))  # type: ignore[misc]

    @staticmethod
    def _take(w: Work[SubscriptionFacts], one: Invoice, minor: int) -> None:
        paid = invoices.receive(w, one, minor)
        if paid.status == "paid":
            payment_effects.on_paid(w, paid)

    def stop(self, *, by_pause: bool) -> None:
        """A pause or a cancel at once."""
        if by_pause:
            self.do(lambda w: running.pause(w, when="now"))
        else:
            self.do(lambda w: running.cancel(w, now=True))


@given(
    seats=st.integers(1, 3),
    renews=st.booleans(),
    steps=st.lists(STEP, min_size=1, max_size=4),
    spent=st.fractions(0, 1, max_denominator=4),
    hours=st.sampled_from((0, 1, 24, 24 * 8)),
    by_pause=st.booleans(),
)
def test_what_is_kept_is_paid_or_owed_and_what_is_paid_is_kept(
    seats: int,
    renews: bool,
    steps: list[tuple[int, int, int]],
    spent: Fraction,
    hours: int,
    by_pause: bool,
) -> None:
    player = ByTransfer(seats)
    if renews:
        player.renew()
    for number, (wanted, wait, quarters) in enumerate(steps):
        wait = wait if number else 0
        if player.now + timedelta(hours=wait + hours) < player.subscription.current_period_end:
            player.step(wanted, wait, quarters)
    player.spend(spent)
    player.now += timedelta(hours=hours)
    before = player.kept
    player.stop(by_pause=by_pause)
    assert player.kept <= player.paid_for + player.owed + 1
    if not renews:  # of a renewal the credits wait for its payment
        assert player.kept >= min(Fraction(before), player.paid_for) - 1, "what is paid stays"


@pytest.mark.parametrize("by_pause", [True, False])
def test_free_credits_that_an_unpaid_period_brings_anew_go_with_it(by_pause: bool) -> None:
    start = {
        "at": "2027-04-01T10:00:00Z", "plan": "free", "interval": "month",
        "collection": "send_invoice", "days": 60,
    }  # fmt: skip
    player = ByTransfer(
        1,
        plans={"free": {"month": 0}, "team": {"month": SEAT_MINOR}},
        terms={"free": {"credits": 100}, "team": {"credits": 1000}},
        start=start,
    )
    player.ask({"at": "2027-04-02T10:00:00Z", "change": {"plan": "team", "when": "now"}})
    assert player.left > 100
    player.stop(by_pause=by_pause)
    assert player.left == Decimal("3.333333"), "of the free day"
