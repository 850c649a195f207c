"""Changes by transfer that begin new periods: the unpaid part of their credits follows the money,
of their own invoices and of the unused time that these credit.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.errors import Conflict
from billing.core.money import ZERO, round_credits
from billing.matters.effects import Add, Do, Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import notes
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.refunds.remaining import creditable
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import unpaid_credits
from tests.unit.subscriptions.test_unpaid_credits import SEAT_CREDITS, SEAT_MINOR, ByTransfer

CYCLES: Final = (("team", "month"), ("brief", "week"))
"""Plans of which a period is one cycle, at one price for a credit."""
YEAR: Final = ("team", "year")
Step = tuple[tuple[str, str], int, int, Fraction, int]
"""Plan and interval, seats, the hours until then; the part of the credits that is spent before; the
quarters of the debt that are paid after it.
"""


def steps(*sold: tuple[str, str]) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(
        st.sampled_from(sold), st.integers(1, 4), st.integers(0, 120),
        st.fractions(0, 1, max_denominator=4), st.integers(0, 4),
    )  # fmt: skip
    return st.lists(step, min_size=1, max_size=4)


class Moving(ByTransfer):
    """A customer who moves between a month, a week and a year of two plans."""

    def __init__(self) -> None:
        self.ends: dict[str, datetime] = {}
        each = {"seats": True, "credits": SEAT_CREDITS}
        super().__init__(
            1,
            plans={
                "team": {"month": SEAT_MINOR, "year": 12 * SEAT_MINOR},
                "brief": {"week": SEAT_MINOR},
            },
            terms={"team": each, "brief": each | {"allowance": "week"}},
        )

    def facts(self) -> SubscriptionFacts:
        found = super().facts()
        lots = tuple(one for one in found.lots if self.ends[one.grant_key] > self.now)
        return replace(found, lots=lots)

    def _keep(self, work: Work[SubscriptionFacts]) -> None:
        super()._keep(work)
        for one in work.effects:
            if isinstance(one, Do) and one.verb == "grant":
                self.ends[str(one.arguments["key"])] = one.arguments["expires_at"]

    def go(self, step: Step) -> None:
        (plan, interval), seats, hours, spent, quarters = step
        if self.now + timedelta(hours=hours) >= self.subscription.current_period_end:
            return
        self.spend(spent)
        self.now += timedelta(hours=hours)
        wish = {"plan": plan, "interval": interval, "quantity": seats, "when": "now"}
        had, known = self.subscription.current_period_start, list(self.ledger)
        with suppress(Conflict):  # it has that, or has spent the credits
            self.ask({"at": self.now.isoformat(), "change": wish})
        is_cut = {"is_cut": True} if self.subscription.current_period_start != had else {}
        for key in known:
            gone = {"unspent": ZERO} if self.ends[key] <= self.now else {}
            self.ledger[key] = self.ledger[key].model_copy(update=is_cut | gone)
        self.transfer(Fraction(quarters, 4))

    def unpaid(self, change: Callable[[Work[SubscriptionFacts]], None]) -> dict[str, Fraction]:
        """The unpaid part of each grant as it would be after this."""
        work = Work(self.rows.copy(), self.facts())
        change(work)
        return unpaid_credits.parts(work)


def pay(quarters: int, w: Work[SubscriptionFacts]) -> None:
    """So much of each invoice that is owed."""
    for one in w.rows.of(Invoice):
        minor = one.outstanding_minor * quarters // 4
        if one.status == "open" and minor:
            invoices.receive(w, one, minor)


def dispute(w: Work[SubscriptionFacts], billed: Invoice, amount: int, note: int) -> Dispute:
    """A lost dispute of an invoice; the rest is our loss."""
    return Dispute(
        id=UUID(int=7), account_id=billed.account_id, payment_id=UUID(int=8), invoice_id=billed.id,
        stripe_dispute_id="dp", status="lost", state="lost", currency=billed.currency,
        reason="general", created_at=w.facts.at, booked_at=w.facts.at, closed_at=w.facts.at,
        amount_minor=amount, note_minor=note, loss_minor=amount - note,
    )  # fmt: skip


def take(quarters: int, w: Work[SubscriptionFacts]) -> None:
    """A bank takes so much of the first payment, as a dispute is booked."""
    first = w.rows.of(Invoice)[0]
    amount = first.amount_paid_minor * quarters // 4
    note = min(amount, creditable(w.rows, first))
    w.rows.take(Add(dispute(w, first, amount, note)))


def test_what_a_bank_returned_of_a_note_has_not_paid_for_the_credits_that_are_left() -> None:
    player = Moving()
    player.go((CYCLES[0], 4, 0, Fraction(0), 2))
    *_, billed = player.rows.of(Invoice)

    def take(w: Work[SubscriptionFacts], back: int) -> None:
        row = dispute(w, billed, SEAT_MINOR, SEAT_MINOR)
        returned = {
            "amount_minor": SEAT_MINOR - back, "returned_minor": back,
            "note_minor": SEAT_MINOR - back, "noted_back_minor": back,
        }  # fmt: skip
        w.rows.take(Add(row.model_copy(update=returned)))

    gone, back = (player.unpaid(lambda w, n=n: take(w, n)) for n in (0, SEAT_MINOR))  # type: ignore[misc]
    assert gone == back != player.unpaid(lambda _: None)


@given(taken=steps(*CYCLES, YEAR))
def test_an_unpaid_part_is_a_share_and_follows_the_money(taken: list[Step]) -> None:
    player = Moving()
    for one in taken:
        player.go(one)
    paid = [player.unpaid(lambda w, n=n: pay(n, w)) for n in range(5)]  # type: ignore[misc]
    gone = [player.unpaid(lambda w, n=n: take(n, w)) for n in range(5)]  # type: ignore[misc]
    assert paid[0] == gone[0]
    assert all(0 <= part <= 1 for found in paid + gone for part in found.values())
    assert not any(paid[4].values()), "all is paid"
    for less, more in pairwise(paid):
        assert all(more[key] <= part for key, part in less.items())
    for less, more in pairwise(gone):
        assert all(more[key] >= part for key, part in less.items())


@given(taken=steps(*CYCLES), by_pause=st.booleans(), spent=st.fractions(0, 1, max_denominator=4))
def test_what_is_kept_of_new_periods_is_paid_or_owed(
    taken: list[Step], by_pause: bool, spent: Fraction
) -> None:
    player = Moving()
    for one in taken:
        player.go(one)
    player.spend(spent)
    before = player.kept
    player.stop(by_pause=by_pause)
    assert player.kept <= player.paid_for + player.owed + 1
    assert player.kept >= min(Fraction(before), player.paid_for) - 1, "what is paid stays"


@pytest.mark.parametrize("sold", CYCLES)
@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("back", [Fraction(1, 2), Fraction(1)])
def test_money_that_went_back_has_paid_nothing_of_the_credits_that_are_left(
    sold: tuple[str, str], quarters: int, back: Fraction
) -> None:
    player = Moving()
    player.go((sold, 4, 0, Fraction(0), quarters))
    *_, billed = player.rows.of(Invoice)
    *_, key = player.ledger
    minor = int(billed.amount_paid_minor * back)
    player.do(lambda w: give_back(w, billed, minor))
    lot = player.ledger[key]
    taken = round_credits(lot.kept * minor / billed.total_minor)
    left = {"kept": lot.kept - taken, "unspent": lot.unspent - taken, "refunded": taken}
    player.ledger[key] = lot.model_copy(update=left)
    before, paid_for = player.kept, player.paid_for - Fraction(minor * SEAT_CREDITS, SEAT_MINOR)
    player.stop(by_pause=True)
    assert player.kept <= paid_for + player.owed + 1
    assert player.kept >= min(Fraction(before), paid_for) - 1, "what is paid stays"


def give_back(w: Work[SubscriptionFacts], billed: Invoice, minor: int) -> None:
    """A bank takes so much of an invoice, as a lost dispute is booked."""
    w.rows.take(Add(dispute(w, billed, minor, minor)))
    notes.reverse(w, billed, notes.NewNote("dispute", minor, "lost", "dsp", was_served=True))
