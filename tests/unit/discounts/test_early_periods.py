"""A coupon for use alone that was redeemed within a period, which another one then cuts short."""

from collections.abc import Callable
from typing import Final

import pytest

from billing.core.ids import new
from billing.money.discounts.schemas import Discount
from billing.money.invoices.schemas import InvoiceLine
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.schemas import Paying
from tests.unit.worked.player import Player, instant

CASE: Final = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {"pro": {"month": 10000, "year": 100000}},
    "price": {"unit_price": "10"},
    "coupons": [{"code": "USE50", "percent": 50, "kinds": ["usage"]}],
    "start": {"at": "2027-01-01T00:00:00Z", "plan": "pro", "interval": "month"},
}
REDEEMED: Final = "2027-01-10T00:00:00Z"
BEGINS: Final = "2027-01-15T00:00:00Z"


def to_a_year(player: Player) -> None:
    wish = {"plan": "pro", "interval": "year", "when": "now"}
    player.play({"at": BEGINS, "change": wish})


def after_a_pause(player: Player) -> None:
    player.do(lambda w: running.pause(w, when="now"))
    player.now = instant(BEGINS)
    player.do(lambda w: running.resume(w, Paying(change_id=new(), by_card=True)))
    player.pay()


@pytest.mark.parametrize("begin", [to_a_year, after_a_pause])
def test_it_discounts_use_from_the_period_that_begins_early(
    begin: Callable[[Player], None],
) -> None:
    player = Player(CASE)
    [redeemed] = player.rows.of(Discount)
    others = [one for one in player.rows.all() if one.id != redeemed.id]
    player.now = instant(REDEEMED)
    fields = {"created_at": player.now, "use_since": player.subscription.current_period_end}
    player.rows = type(player.rows)([*others, redeemed.model_copy(update=fields)])
    player.play({"at": "2027-01-12T00:00:00Z", "use": [3]})
    begin(player)
    old = [one for one in player.rows.of(InvoiceLine) if one.kind == "usage"]
    assert [(one.amount_minor, one.discount_minor) for one in old] == [(3000, 0)]
    assert player.subscription.cycle_start == instant(BEGINS)

    player.usage.clear()  # it is billed
    player.play({"at": "2027-01-20T00:00:00Z", "use": [20]})
    ends = "cycle" if begin is to_a_year else "renews"
    lines = player.play({"at": "2027-02-15T00:00:00Z", ends: True})
    used = [one for one in lines if one.kind == "usage"]
    assert [(one.amount_minor, one.discount_minor) for one in used] == [(20000, 10000)]
