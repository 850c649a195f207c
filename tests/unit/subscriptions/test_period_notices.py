"""The notices before a trial's end and before the renewal of a long period."""

from datetime import timedelta
from typing import Any, Final

import pytest

from billing.matters.agenda import Step, head
from billing.matters.effects import Announce, Work
from billing.money.subscriptions.commands import extensions, running
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.transitions import transition
from billing.money.subscriptions.views import view
from tests.unit.worked.player import Case, Player, instant

BEGINS: Final = "2027-01-01T10:00:00Z"
ENDS: Final = "2028-01-01T10:00:00Z"
PRICES: Final = {"month": 1000, "6 months": 5500, "year": 10000}
Told = list[tuple[str, int]]
"""The day of each notice, and its days ahead."""


def sold(interval: str = "year", notices: Case | None = None, **start: Any) -> Player:
    """A plan from 1 January 2027 on."""
    return Player(
        {
            "currency": "USD", "zone": "UTC", "plans": {"team": PRICES},
            "terms": {"team": {"seats": True, "notices": notices or {}}},
            "start": {"at": BEGINS, "plan": "team", "interval": interval, **start},
        }
    )  # fmt: skip


def live(player: Player, until: str) -> list[tuple[str, Announce]]:
    """Do all that is due until then; return the notices, each with its day."""
    notices = []
    while (step := next_of(player)).due <= instant(until):
        player.now = max(player.now, step.due)
        work = Work(player.rows, player.facts())
        transition(work, step)
        player.pay()
        announced = (one for one in work.effects if isinstance(one, Announce))
        notices += [
            (f"{player.now:%Y-%m-%d}", one) for one in announced if "days_ahead" in one.facts
        ]
    player.now = max(player.now, instant(until))
    return notices


def next_of(player: Player) -> Step:
    """The next step but for those of invoices, which the player pays."""
    steps = agenda(view(player.rows, player.facts()))
    step = head((one for one in steps if one.invoice is None), player.now)
    assert step is not None
    return step


def told(player: Player, until: str) -> Told:
    return [(day, one.facts["days_ahead"]) for day, one in live(player, until)]


def test_a_year_is_told_of_twice_before_each_renewal() -> None:
    first, second = [("2027-12-02", 30), ("2027-12-25", 7)], [("2028-12-02", 30), ("2028-12-25", 7)]
    assert told(sold(), "2029-01-01T10:00:00Z") == first + second


@pytest.mark.parametrize(
    ("interval", "notices", "days"),
    [
        ("month", {}, []),
        ("6 months", {}, [("2027-06-01", 30), ("2027-06-24", 7)]),
        ("6 months", {"renewal_over_days": 200}, []),
        ("6 months", {"renewal": []}, []),
        ("6 months", {"renewal": [14]}, [("2027-06-17", 14)]),
        ("month", {"renewal": [3], "renewal_over_days": 0}, [("2027-01-29", 3)]),
    ],
)
def test_a_plan_says_which_renewals_are_told_of(interval: str, notices: Case, days: Told) -> None:
    ends = {"month": "2027-02-01T10:00:00Z", "6 months": "2027-07-01T10:00:00Z"}
    assert told(sold(interval, notices), ends[interval]) == days


@pytest.mark.parametrize(
    ("length", "notices", "days"),
    [
        (14, {}, [("2027-01-08", 7), ("2027-01-12", 3)]),
        (5, {}, [("2027-01-01", 7), ("2027-01-03", 3)]),
        (3, {}, [("2027-01-01", 3)]),
        (2, {}, [("2027-01-01", 3)]),
        (14, {"trial": [10]}, [("2027-01-05", 10)]),
        (14, {"trial": []}, []),
    ],
)
def test_the_end_of_a_trial_is_told_on_its_days_or_at_once(
    length: int, notices: Case, days: Told
) -> None:
    ends = (instant(BEGINS) + timedelta(days=length)).isoformat()
    assert told(sold("month", notices, trial_end=ends), "2027-01-20T00:00:00Z") == days


@pytest.mark.parametrize(
    ("back", "days"),
    [
        ("2027-12-10T10:00:00Z", [("2027-12-10", 30), ("2027-12-25", 7)]),
        ("2027-12-28T10:00:00Z", [("2027-12-28", 7)]),
        ("2028-01-02T10:00:00Z", []),
    ],
)
def test_after_an_outage_only_the_last_notice_that_was_due_is_sent(back: str, days: Told) -> None:
    player = sold()
    assert told(player, "2027-12-01T10:00:00Z") == []
    player.now = instant(back)
    assert told(player, "2028-01-03T10:00:00Z") == days


def test_each_period_has_a_notice_whose_day_lies_before_it() -> None:
    first, second = [("2027-01-01", 300), ("2027-06-24", 7)], [("2027-07-01", 300)]
    sells = sold("6 months", {"renewal": [300, 7]})
    assert told(sells, "2027-08-01T10:00:00Z") == first + second


def test_an_end_that_moves_is_told_of_anew() -> None:
    player = sold()
    assert told(player, "2027-12-26T10:00:00Z") == [("2027-12-02", 30), ("2027-12-25", 7)]
    change = player.facts().new_id()
    player.do(lambda w: extensions.extend(w, days=5, reason="an outage", change_id=change))
    assert told(player, "2028-01-06T09:00:00Z") == [("2027-12-30", 7)]


def test_while_a_cancel_is_scheduled_nothing_is_told() -> None:
    player = sold()
    assert told(player, "2027-12-01T10:00:00Z") == []
    player.do(lambda w: running.cancel(w, now=False))
    assert told(player, "2027-12-20T10:00:00Z") == []
    player.do(running.reactivate)
    assert told(player, ENDS) == [("2027-12-20", 30), ("2027-12-25", 7)]


def test_the_notice_names_what_comes_with_the_change_that_is_scheduled() -> None:
    player = sold(quantity=2)
    live(player, "2027-03-01T00:00:00Z")
    wish = {"quantity": 3, "interval": "month", "when": "period_end"}
    player.play({"at": "2027-03-02T00:00:00Z", "change": wish})
    (_, first), (_, second) = live(player, "2027-12-31T00:00:00Z")
    for notice in (first, second):
        assert notice.action == "subscription.renewal_upcoming"
        assert notice.facts["current_period_end"] == instant(ENDS).isoformat()
        shown = [notice.facts[name] for name in ("of_plan", "interval", "price_cents", "currency")]
        assert shown == ["team", "month", 3000, "USD"]
        assert "POST /billing/subscription/cancel" in notice.facts["how_to_cancel"]
