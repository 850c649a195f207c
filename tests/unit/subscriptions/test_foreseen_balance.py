"""The coming end of a year has the money balance that the use of a month before it leaves."""

from typing import Any, Final

import pytest

from billing.money.subscriptions.previews import deciding
from tests.unit.worked.player import Player

CASE: Final[dict[str, Any]] = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {"pro": {"year": 10000}},
    "terms": {"pro": {"calls": 0}},
    "price": {"unit_price": "0.01"},
}
START: Final = {"at": "2027-02-01T00:00:00Z", "plan": "pro", "interval": "year"}


def coming(player: Player) -> tuple[int, int]:
    """Of the invoice that ends the year: taken from the balance (a debt adds), and due."""
    seen = deciding.upcoming(player.rows, player.facts())
    assert seen is not None
    assert seen.written is not None
    return seen.written.invoice.balance_applied_minor, seen.written.invoice.amount_due_minor


@pytest.mark.parametrize(
    ("calls", "applied", "due"),
    [
        (0, 3960, 6040),
        (1800, 2160, 7840),
        (5000, 0, 10000),
        # The balance is used up, and 20 cents are too few for a card: they are carried.
        (3980, -20, 10020),
    ],
)
def test_use_that_is_billed_before_takes_its_part(calls: int, applied: int, due: int) -> None:
    player = Player(CASE | {"start": START | {"balance": 10000 + 3960}})
    player.play({"at": "2027-02-20T00:00:00Z", "use": [calls]})
    foreseen = coming(player)
    assert foreseen == (applied, due)
    player.play({"at": "2027-03-01T00:00:00Z", "cycle": True})
    assert coming(player) == foreseen, "as it is once the month is billed"
