"""A year with monthly credits at the start of its period that becomes unpaid in its second month,
whose credits never came: the time until then is owed, whenever the subscription ends.
"""

from dataclasses import replace

import pytest

from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.facts import SubscriptionFacts
from tests.unit.worked.player import Player, instant

DAY_MINOR = 1_000


class AtStart(Player):
    """Credits of a period are granted with its beginning, before it is paid."""

    def facts(self) -> SubscriptionFacts:
        return replace(super().facts(), credits_at_start=True)


@pytest.mark.parametrize("months", [[], ["03"], ["03", "04"]])
def test_a_month_whose_credits_never_came_is_not_served_in_whole(months: list[str]) -> None:
    player = AtStart(
        {
            "currency": "USD", "zone": "UTC", "plans": {"pro": {"year": 365 * DAY_MINOR}},
            "terms": {"pro": {"credits": 500}},
            "start": {
                "at": "2026-01-01T10:00:00Z", "plan": "pro", "interval": "year",
                "collection": "send_invoice", "days": 30,
            },
        }
    )  # fmt: skip
    player.lots = ()
    for number in range(2, 13):
        player.play({"at": f"2026-{number:02}-01T10:00:00Z", "cycle": True})
    player.ask({"at": "2027-01-01T10:00:00Z", "renews": True})
    player.ask({"at": "2027-02-01T10:00:00Z", "cycle": True})
    player.now = instant("2027-02-07T10:00:00Z")
    player.do(payment_effects.begin_unpaid)
    for month in months:
        player.ask({"at": f"2027-{month}-01T10:00:00Z", "cycle": True})
    player.now = instant(f"2027-{months[-1] if months else '02'}-20T10:00:00Z")
    player.do(lambda work: payment_effects.end(work, "unpaid"))
    *_, year = player.rows.of(Invoice)
    assert year.outstanding_minor == 37 * DAY_MINOR
