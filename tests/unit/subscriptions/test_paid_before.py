"""The release before activates an unpaid subscription without clearing since when it was unpaid."""

from datetime import timedelta
from typing import Final

from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.views import view
from tests.unit.worked.player import Player, instant

PRICE_MINOR: Final = 2800
CASE: Final = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {"pro": {"month": PRICE_MINOR}},
    "start": {"at": "2027-02-01T00:00:00Z", "plan": "pro", "interval": "month"},
}
BEFORE: Final = instant("2026-11-11T00:00:00Z")


def paid_before() -> Player:
    """Active and paid; it was unpaid in a period before."""
    player = Player(CASE)
    noted = {"unpaid_at": BEFORE, "unserved_since": BEFORE}
    rows = [one for one in player.rows.all() if one.id != player.subscription.id]
    player.rows = type(player.rows)([*rows, player.subscription.model_copy(update=noted)])
    return player


def test_a_cancel_at_half_of_the_period_gives_half_of_it_back() -> None:
    player = paid_before()
    player.play({"at": "2027-02-15T00:00:00Z", "cancel": "credit"})
    assert player.balance == PRICE_MINOR // 2
    assert player.subscription.served_until is None, "late use is billed"


def test_unpaid_again_it_has_all_of_its_days() -> None:
    player = paid_before()
    player.now = instant("2027-02-15T00:00:00Z")
    player.do(payment_effects.begin_unpaid)
    assert player.subscription.unpaid_at == player.now
    assert player.subscription.served_until == player.now
    ends = view(player.rows, player.facts()).unpaid_until
    assert ends == player.now + timedelta(days=60)


def test_what_is_renewed_is_not_unpaid() -> None:
    player = paid_before()
    player.play({"at": "2027-03-01T00:00:00Z", "renews": True})
    assert player.subscription.unpaid_at is None
