"""Notes in parts on invoices that credit time at another tax rate: no invoice takes back more than
its total, nor more of a tax than it charged, and all that was charged goes back in the end.
"""

from collections import Counter
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.errors import Conflict
from billing.money.invoices import notes
from billing.money.invoices.giving_back import Rate, rate_of
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine
from billing.money.refunds.remaining import creditable
from tests.searching import examples
from tests.unit.worked.player import Player

RATES: Final = (("20", "5"), ("19", "7"), ("25", "0"), ("5", "20"))


def changed(dice: Random) -> Player:
    """A customer who goes to and fro between two plans of different rates, all paid."""
    standard, reduced = dice.choice(RATES)
    player = Player(
        {
            "currency": "EUR", "zone": "UTC",
            "plans": {key: {"month": dice.randint(500, 9000)} for key in ("one", "two")},
            "terms": {"one": {"tax": "standard"}, "two": {"tax": "reduced"}},
            "taxes": {
                "rates": {"standard": standard, "reduced": reduced},
                "inclusive": dice.random() < 0.5,
            },
            "start": {"plan": "one", "interval": "month", "at": "2027-02-01T10:00:00Z"},
        }
    )  # fmt: skip
    day = 1
    for number in range(dice.randint(1, 3)):
        day += dice.randint(0, 6)
        change = {"plan": ("two", "one")[number % 2], "when": "now"}
        with suppress(Conflict):
            player.play({"at": f"2027-02-{day:02}T10:00:00Z", "change": change})
    return player


def taxes(rows: list[Any]) -> Counter[Rate]:
    found = Counter[Rate]()
    for one in rows:
        for tax in one.taxes:
            found[rate_of(tax)] += tax["amount_minor"]
    return found


def hold_true(player: Player) -> None:
    for invoice in player.rows.of(Invoice):
        written = [one for one in player.rows.of(CreditNote) if one.invoice_id == invoice.id]
        lines = [one for one in player.rows.of(InvoiceLine) if one.invoice_id == invoice.id]
        assert sum(one.amount_minor for one in written) <= invoice.total_minor
        charged = taxes(lines)
        for rate, minor in taxes(written).items():
            assert minor <= max(0, charged[rate])


@settings(max_examples=examples(60))
@given(st.randoms(use_true_random=False))
def test_notes_take_back_no_more_than_each_invoice_and_rate_charged(dice: Random) -> None:
    player, number = changed(dice), 0
    while left := [one for one in player.rows.of(Invoice) if creditable(player.rows, one)]:
        one, number = dice.choice(left), number + 1
        most = creditable(player.rows, one)
        minor = most if dice.random() < 0.3 else dice.randint(1, most)
        note = notes.NewNote("operator", minor, "goodwill", f"n{number}")
        player.do(partial(notes.credit_note, invoice=one, note=note, to_balance=True))
        hold_true(player)
    charged = sum(one.total_minor for one in player.rows.of(Invoice) if one.finalized_at)
    assert sum(one.amount_minor for one in player.rows.of(CreditNote)) == charged
