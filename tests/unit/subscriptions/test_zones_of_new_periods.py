"""A period that begins anew, with a resumption or a change, is in the account's zone by then."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from billing.money.subscriptions.commands import running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Paying
from tests.unit.worked.player import Player, instant

TOKYO = "Asia/Tokyo"
BEGINS = "2027-01-30T20:00:00Z"
"""The 31st in Tokyo."""
IN_UTC, IN_TOKYO = instant("2027-02-28T20:00:00Z"), instant("2027-02-27T20:00:00Z")
"""The end of the month from then."""
CONTRACT = {"since": "2027-01-01T00:00:00Z", "until": "2027-12-01T00:00:00Z", "terms": {}}
COMMITMENT = {"amount_minor": 1000, "periods": 12, "on_early_end": "charge"}


class Moved(Player):
    """A customer whose account has moved to another zone since it subscribed."""

    account_zone = TOKYO

    def __init__(self, *, more: dict[str, Any] | None = None, **start: Any) -> None:
        plans = {"pro": {"month": 3100, "year": 36500}, "free": {"month": 0, "year": 0}}
        begun = {"at": "2027-01-05T10:00:00Z", "plan": "pro", "interval": "month"} | start
        case = {"currency": "USD", "zone": "UTC", "plans": plans, "start": begun}
        super().__init__(case | (more or {}))

    def facts(self) -> SubscriptionFacts:
        return replace(super().facts(), account_zone=self.account_zone)

    def paused(self) -> None:
        self.now = instant("2027-01-10T10:00:00Z")
        self.do(lambda w: running.pause(w, when="now"))
        self.now = instant(BEGINS)

    def resume(self) -> None:
        paying = Paying(change_id=UUID(int=99), by_card=True)
        self.do(lambda w: running.resume(w, paying))

    def to_year(self, **wish: Any) -> None:
        self.ask(
            {"at": BEGINS, "change": {"plan": "pro", "interval": "year", "when": "now"} | wish}
        )

    def first_cycle(self) -> tuple[str, Any]:
        return self.subscription.zone, self.subscription.cycle_end


@pytest.mark.parametrize("interval", ["month", "year"])
def test_a_resumption_begins_a_period_in_the_zone_of_now(interval: str) -> None:
    player = Moved(interval=interval)
    player.paused()
    player.resume()
    player.pay()
    assert player.first_cycle() == (TOKYO, IN_TOKYO)


def test_a_change_to_a_year_begins_it_in_the_zone_of_now() -> None:
    player = Moved()
    player.to_year()
    player.pay()
    assert player.first_cycle() == (TOKYO, IN_TOKYO)
    assert player.subscription.current_period_end == instant("2028-01-30T20:00:00Z")


@pytest.mark.parametrize("by", [Moved.to_year, Moved.resume])
def test_a_period_that_waits_for_its_payment_keeps_the_zone_it_was_asked_in(by: Any) -> None:
    player = Moved()
    if by is Moved.resume:
        player.paused()
    by(player)
    player.account_zone = "America/Los_Angeles"
    player.pay()
    assert player.first_cycle() == (TOKYO, IN_TOKYO)


def test_a_change_within_a_period_leaves_its_zone() -> None:
    player = Moved(more={"terms": {"pro": {"seats": True}}})
    player.ask({"at": BEGINS, "change": {"quantity": 2, "when": "now"}})
    player.pay()
    assert player.subscription.zone == "UTC"


@pytest.mark.parametrize(
    "agreed", [{"more": {"contracts": [CONTRACT]}}, {"commitment": COMMITMENT}]
)
def test_the_zone_waits_while_an_instant_is_agreed_in_the_old_one(agreed: dict[str, Any]) -> None:
    player = Moved(**agreed)
    player.paused()
    player.resume()
    player.pay()
    assert player.first_cycle() == ("UTC", IN_UTC)


def test_a_plan_that_costs_nothing_keeps_the_zone_of_its_month() -> None:
    player = Moved()
    player.to_year(plan="free")
    player.pay()
    assert player.first_cycle() == ("UTC", IN_UTC)
