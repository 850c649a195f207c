"""The invoice that began a period is voided: what was charged since is credited all the same. It
is not voided while what was paid of it pays a later one.
"""

from decimal import Decimal
from typing import Final

import pytest

from billing.core.errors import Conflict
from billing.money.invoice_requests import corrections
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import payment_effects
from tests.unit.worked.player import Player, instant

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


@pytest.mark.parametrize(
    ("used", "owed", "kept"),
    [
        # A week of 100.00 and three of 200.00.
        ("0", 0, 2500 + 15000),
        # Half of what was included is used while the change waits: 13.33 more are not given back,
        # and 11.67 are billed.
        ("0.5", 4000 - 2667, 2500 + 15000 + 1167),
    ],
)
def test_what_is_paid_of_a_part_paid_invoice_comes_back_once(
    used: str, owed: int, kept: int
) -> None:
    plans = {"pro": {"month": 10000}, "plus": {"month": 20000}}
    terms = {"pro": {"calls": 100}, "plus": {"calls": 50}}
    player = Player({**CASE, "plans": plans, "terms": terms})
    began = player.rows.of(Invoice)[0]
    others = [one for one in player.rows.all() if one.id != began.id]
    fields = {"status": "open", "amount_paid_minor": 6000, "paid_at": None, "settlement": None}
    player.rows = type(player.rows)([*others, began.model_copy(update=fields)])

    player.ask({"at": "2027-02-08T00:00:00Z", "change": {"plan": "plus"}})
    asked = player.rows.of(Invoice)[1]
    # Of the 75.00 not used 40.00 are owed.
    assert asked.amount_due_minor == 15000 - 3500
    demand_not_voided(player, began)
    player.now, player.used_share = instant("2027-02-08T20:00:00Z"), Decimal(used)
    player.do(lambda w: payment_effects.on_paid(w, invoices.receive(w, asked, 11500)))
    rest = player.rows.get(Invoice, began.id).outstanding_minor
    assert rest == owed
    demand_not_voided(player, began)
    if rest:
        player.do(lambda w: corrections.credit(
            w, began.id, amount=rest, lines=(), reason="r", to="debt", suffix="n",
            tries=True))  # fmt: skip
    player.pay()
    assert player.rows.get(Invoice, began.id).status == "paid"
    assert sum(one.amount_paid_minor for one in player.rows.of(Invoice)) == kept
    assert player.balance == 0


def demand_not_voided(player: Player, invoice: Invoice) -> None:
    """An operator cannot void it: its rest can be credited."""
    with pytest.raises(Conflict, match="pays another one") as refused:
        player.do(lambda w: corrections.void(w, invoice.id, reason="r"))
    assert refused.value.code == "INVOICE_STATE"
