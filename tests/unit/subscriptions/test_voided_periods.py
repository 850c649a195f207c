"""The invoice that began a period is voided: what was charged since is credited all the same."""

from typing import Final

from billing.money.invoices.schemas import Invoice
from tests.unit.worked.player import Player

CASE: Final = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {"pro": {"month": 2800}, "plus": {"month": 5600}, "max": {"month": 8400}},
    "start": {"at": "2027-02-01T00:00:00Z", "plan": "pro", "interval": "month"},
}


def test_a_second_change_credits_the_first() -> None:
    player = Player(CASE)
    player.play({"at": "2027-02-08T00:00:00Z", "change": {"plan": "plus"}})
    began = player.rows.of(Invoice)[0]
    others = [one for one in player.rows.all() if one.id != began.id]
    player.rows = type(player.rows)([*others, began.model_copy(update={"status": "void"})])
    lines = player.play({"at": "2027-02-15T00:00:00Z", "change": {"plan": "max"}})
    # Two of the three weeks of 42.00 are left, and half a month of 84.00 is charged.
    assert [line.amount_minor for line in lines] == [-2800, 4200]
