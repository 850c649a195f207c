"""A change of plan waits for its payment while other things come about."""

from typing import Any, Final

from billing.money.invoices.schemas import Invoice
from tests.unit.worked.player import Player

CALLS: Final = {"unit_price": "0.01"}
HALF: Final = {"code": "HALF", "percent": 50}


def begun(plan: str = "pro", interval: str = "year", /, **known: Any) -> Player:
    """A subscription of a year with monthly cycles."""
    case = {
        "currency": "USD",
        "zone": "UTC",
        "plans": {
            "pro": {"month": 4900, "year": 49000},
            "enterprise": {"year": 490000, "2 years": 900000},
            "plain": {"year": 60000},
        },
        "terms": {"pro": {"credits": 1000}, "enterprise": {"credits": 5000}},
        "start": {"at": "2027-02-01T00:00:00Z", "plan": plan, "interval": interval},
    }
    return Player(case | known)


def last(player: Player) -> Invoice:
    return player.rows.of(Invoice)[-1]


def test_a_coupon_of_a_change_that_waits_is_off_no_use() -> None:
    player = begun(price=CALLS)
    player.play({"at": "2027-02-20T00:00:00Z", "use": [1000]})
    player.ask(
        {"at": "2027-02-28T12:00:00Z", "change": {"plan": "enterprise", "coupon": HALF}},
    )
    assert last(player).discount_minor > 0, "it is off the change that it came with"
    player.ask({"at": "2027-03-01T00:00:00Z", "cycle": True})
    assert (last(player).subtotal_minor, last(player).discount_minor) == (1000, 0)
