"""The account's usage period is told until when its terms hold; an end that has come stays."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from billing.core.errors import Conflict
from billing.matters.effects import Do, Work
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.facts import SubscriptionFacts
from tests.unit.worked.player import Player, instant

ENDS: Final = instant("2027-02-01T10:00:00Z")
DATE: Final = instant("2027-01-20T10:00:00Z")
Verb = Callable[[Work[SubscriptionFacts]], Any]


def sold() -> Player:
    """A plan for a month."""
    return Player(
        {
            "currency": "USD", "zone": "UTC", "plans": {"team": {"month": 1000}},
            "start": {"at": "2027-01-01T10:00:00Z", "plan": "team", "interval": "month"},
        }
    )  # fmt: skip


def cancel(date: datetime | None = None) -> Verb:
    return lambda w: running.cancel(w, now=False, date=date)


def follows(player: Player, verb: Verb) -> bool:
    """True if the usage period follows what a command did."""
    work = Work(player.rows, player.facts())
    verb(work)
    return any(isinstance(one, Do) and one.verb == "open_usage_period" for one in work.effects)


@pytest.mark.parametrize("date", [None, DATE])
def test_the_usage_period_follows_an_end_that_is_scheduled_and_taken_back(
    date: datetime | None,
) -> None:
    player = sold()
    assert follows(player, cancel(date))
    assert follows(player, running.reactivate)


def test_the_usage_period_follows_a_pause_that_is_scheduled_and_dropped() -> None:
    player = sold()
    player.now = DATE
    assert follows(player, lambda w: running.pause(w, when="period_end"))
    assert follows(player, cancel())
    assert not follows(player, lambda w: running.choose_card(w, method_id=None))


@pytest.mark.parametrize("date", [None, DATE])
@pytest.mark.parametrize("verb", [running.reactivate, cancel(), cancel(ENDS + timedelta(days=9))])
def test_an_end_that_has_come_is_neither_taken_back_nor_moved(
    date: datetime | None, verb: Verb
) -> None:
    player = sold()
    player.do(cancel(date))
    player.now = (date or ENDS) - timedelta(seconds=1)
    verb(Work(player.rows.copy(), player.facts()))
    player.now = date or ENDS
    with pytest.raises(Conflict) as refused:
        player.do(verb)
    assert refused.value.code == "SUBSCRIPTION_STATE"
