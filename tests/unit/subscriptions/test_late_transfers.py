"""A first payment by transfer that comes when its period is over: the subscription begins then, and
nobody pays for time before it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from billing.catalog.plans.rules import parse_interval
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import CreditNote, Invoice
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import spans
from tests.unit.worked.player import Player, instant

MONTH_MINOR = 3100
AGREED: dict[str, Any] = {
    "price_id": str(UUID(int=77)), "plan": "pro", "interval": {"unit": "month", "count": 1},
    "currency": "USD", "amount_minor": 1550,
}  # fmt: skip
COMMITMENT: dict[str, Any] = {"periods": 2, "amount_minor": 9000, "on_early_end": "charge"}
CONTRACT: dict[str, Any] = {
    "since": "2027-02-01T00:00:00Z",
    "terms": {"prices": [AGREED], "commitment": COMMITMENT | {"currency": "USD"}},
}
"""It comes between the order and its money."""


class Moved(Player):
    """A customer whose account has moved to Los Angeles since the order."""

    def facts(self) -> SubscriptionFacts:
        return replace(super().facts(), account_zone="America/Los_Angeles")


def sold(
    days: int,
    *,
    coupon: dict[str, Any] | None = None,
    contracts: Sequence[dict[str, Any]] = (),
    of: type[Player] = Player,
    **start: Any,
) -> Player:
    """Ordered on 28 January, by transfer; the money comes so many days later."""
    begun = {"at": "2027-01-28T10:00:00Z", "plan": "pro", "collection": "send_invoice", "days": 30}
    prices = {"month": MONTH_MINOR, "week": 700, "day": 100, "year": 36500}
    case = {
        "currency": "USD", "zone": "UTC", "plans": {"pro": prices},
        "terms": {"pro": {"credits": 310}}, "start": begun | {"minimum": 5000} | start,
        "coupons": [coupon] if coupon else [], "contracts": contracts,
    }  # fmt: skip
    return of(case, timedelta(days=days))


def renewed(player: Player, *days: int) -> list[list[tuple[str, int]]]:
    """The charges of the renewals of these days of February."""
    found = []
    for day in days:
        lines = player.play({"at": f"2027-02-{day}T10:00:00Z", "renews": True})
        found.append([(one.kind, one.amount_minor) for one in lines])
    return found


@pytest.mark.parametrize(
    ("start", "days", "ends", "first", "then"),
    [
        ({"interval": "month", "billing_day": 1}, 5, "2027-03-01T10:00:00Z", 400, 2989),
        ({"interval": "week"}, 10, "2027-02-11T10:00:00Z", 700, 400),
        ({"interval": "day"}, 13, "2027-02-11T10:00:00Z", 100, 100),
    ],
)
def test_it_begins_with_the_rest_of_the_period_that_runs(
    start: dict[str, Any], days: int, ends: str, first: int, then: int
) -> None:
    player = sold(days, **start)
    row = player.subscription
    assert (row.status, row.current_period_start) == ("active", player.now)
    assert row.current_period_end == instant(ends)
    paid, rest = player.rows.of(Invoice)
    assert [one.amount_minor for one in player.rows.of(CreditNote)] == [first]
    assert (paid.status, paid.total_minor) == ("paid", first)
    assert (rest.total_minor, rest.amount_due_minor) == (then, max(0, then - first))
    assert (rest.period_start, rest.period_end) == (player.now, row.current_period_end)
    assert rest.status == ("open" if then > first else "paid")
    assert player.balance == max(0, first - then), "what is left pays the next one"


def test_its_credits_come_with_the_invoice_of_the_rest() -> None:
    player = sold(5, interval="month", billing_day=1)
    assert player.granted == 0
    player.pay()
    assert 298 < player.granted < 299, "27 of 28 days"


def test_one_that_comes_in_its_period_has_it() -> None:
    player = sold(3, interval="month", billing_day=1)
    assert player.subscription.current_period_start == instant("2027-01-28T10:00:00Z")
    assert (len(player.rows.of(Invoice)), player.rows.of(CreditNote)) == (1, [])


def test_a_coupon_for_one_period_is_off_the_first_that_is_served() -> None:
    half = {"code": "HALF", "percent": 50, "periods": 1}
    player = sold(5, coupon=half, interval="month", billing_day=1)
    paid, rest = player.rows.of(Invoice)
    assert (paid.total_minor, rest.total_minor) == (200, 1494)
    player.pay()
    player.ask({"at": "2027-03-01T10:00:00Z", "renews": True})
    renewed = player.rows.of(Invoice)[-1]
    assert not any(one.discounts for one in invoices.lines_of(player.rows, renewed.id))


def test_it_is_sold_under_the_contract_in_force_then() -> None:
    player = sold(5, contracts=[CONTRACT], interval="month", billing_day=1)
    row = player.subscription
    assert row.contract_id == player.contracts[0].id
    assert (row.price_id, row.amount_minor) == (UUID(int=77), 1550)
    assert row.committed is not None
    times = row.committed.since, row.committed.ends_at
    assert times == (player.now, instant("2027-04-01T10:00:00Z"))
    paid, rest = player.rows.of(Invoice)
    assert (paid.total_minor, rest.total_minor) == (400, 1495), "27 of 28 days"


def test_a_commitment_has_as_many_periods_as_were_sold() -> None:
    agreed = COMMITMENT | {"amount_minor": 1400}
    player = sold(10, commitment=agreed, interval="week", minimum=None)
    committed = player.subscription.committed
    assert committed is not None
    times = committed.since, committed.ends_at
    assert times == (player.now, instant("2027-02-18T10:00:00Z")), "the rest of a week, and one"
    seen = renewed(player, 11, 18)
    assert seen == [[("plan", 700)], [("plan", 700), ("commitment", 300)]]


def test_no_period_of_a_commitment_is_over_before_it_begins() -> None:
    agreed = COMMITMENT | {"amount_minor": 500, "periods": 5}
    player = sold(13, commitment=agreed, interval="day", minimum=None)
    assert renewed(player, *range(11, 16)) == [[("plan", 100)]] * 5


def test_it_begins_in_the_zone_of_now() -> None:
    row = sold(5, of=Moved, interval="year", billing_day=1).subscription
    assert row.zone == "America/Los_Angeles"
    assert row.current_period_end == instant("2028-02-01T10:00:00Z")
    allowance = parse_interval("month")
    spring = spans.cycle_end(
        row, allowance, instant("2027-03-01T10:00:00Z"), row.current_period_end
    )
    assert spring == instant("2027-04-01T09:00:00Z"), "summer time begins on 14 March"


@pytest.mark.parametrize(
    ("since", "zone"),
    [("2027-02-01T12:00:00Z", "America/Los_Angeles"), ("2027-03-05T00:00:00Z", "UTC")],
)
def test_its_zone_waits_for_a_contract_that_comes_and_for_none_that_came(
    since: str, zone: str
) -> None:
    contract = {"since": since, "terms": {}}
    row = sold(10, contracts=[contract], of=Moved, interval="day").subscription
    assert row.zone == zone


@pytest.mark.parametrize(
    ("collection", "until"),
    [("send_invoice", "2027-02-11T10:00:00Z"), ("charge", "2027-02-01T10:00:00Z")],
)
def test_a_transfer_has_its_days_where_the_period_is_over_sooner(
    collection: str, until: str
) -> None:
    row = sold(0, interval="month", billing_day=1).subscription
    waiting = row.model_copy(
        update={
            "status": "incomplete",
            "collection": collection,
            "incomplete_expires_at": instant("2027-02-11T10:00:00Z"),
        }
    )
    assert spans.first_payment_until(waiting) == instant(until)
