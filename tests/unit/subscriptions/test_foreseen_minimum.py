"""The coming end of a year asks for the least of the year, less what its months bill before."""

from typing import Final

from billing.money.subscriptions.previews import deciding
from tests.unit.worked.player import Player

CASE: Final = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {"pro": {"year": 1200}},
    "terms": {"pro": {"calls": 0}},
    "price": {"unit_price": "0.01"},
    "start": {"at": "2027-02-01T00:00:00Z", "plan": "pro", "interval": "year", "minimum": 100000},
}


def coming(player: Player) -> list[tuple[str, int]]:
    """The lines of the invoice that ends the year."""
    seen = deciding.upcoming(player.rows, player.facts())
    assert seen is not None
    assert seen.written is not None
    return [(line.kind, line.amount_minor) for line in seen.written.lines]


def test_use_of_a_month_counts_before_and_after_it_is_billed() -> None:
    player = Player(CASE)
    assert coming(player) == [("plan", 1200), ("minimum", 98800)]
    player.play({"at": "2027-02-20T00:00:00Z", "use": [1000]})
    assert coming(player) == [("plan", 1200), ("minimum", 97800)]
    (billed,) = player.play({"at": "2027-03-01T00:00:00Z", "cycle": True})
    assert (billed.kind, billed.amount_minor) == ("usage", 1000)
    assert coming(player) == [("plan", 1200), ("minimum", 97800)]
