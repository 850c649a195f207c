"""Notes on an invoice that credits time of an earlier one and also charges a carried debt: what is
asked for by name goes off what is owed, and only the rest of it to the money balance.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import UUID

import pytest

from billing.matters.effects import Work
from billing.money.invoice_requests import corrections, recovery
from billing.money.invoices import notes
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.invoices.transitions import InvoiceFacts
from tests.unit.worked.player import ACCOUNT, Player

PAID, PRICE, CREDIT, DEBT = 10_000, 9_000, 5_000, 1_500
OWED: Final = PRICE - CREDIT + DEBT


def upgraded() -> tuple[Player, Invoice]:
    """A customer by transfer, in debt, whose dearer plan of half a month is not paid yet."""
    player = Player(
        {
            "currency": "EUR", "zone": "UTC",
            "plans": {"one": {"month": PAID}, "two": {"month": 2 * PRICE}},
            "start": {
                "plan": "one", "interval": "month", "at": "2027-02-01T10:00:00Z",
                "collection": "send_invoice", "days": 10,
            },
        }
    )  # fmt: skip
    player.do(owe)
    wish = {"plan": "two", "when": "now"}
    player.ask({"at": "2027-02-15T10:00:00Z", "change": wish})
    *_, invoice = player.rows.of(Invoice)
    assert (invoice.status, invoice.total_minor) == ("open", PRICE - CREDIT)
    assert invoice.remaining_minor == OWED
    return player, invoice


def owe(w: Work[InvoiceFacts]) -> None:
    w.add(
        BalanceEntry(
            id=w.facts.new_id(), account_id=ACCOUNT, key="adjusted", kind="adjusted",
            amount_minor=-DEBT, currency="EUR", at=w.facts.at,
        )
    )  # fmt: skip


def credit(amount: int) -> Callable[[Work[Any], UUID], None]:
    return partial(
        corrections.credit, amount=amount, lines=(), reason="goodwill", to="debt", suffix="note",
        tries=False,
    )  # fmt: skip


FORGIVEN: Final = partial(recovery._forgive, reason="goodwill", tries=False)


@pytest.mark.parametrize("verb", [FORGIVEN, credit(OWED)], ids=["forgiven", "credited"])
def test_a_note_over_all_that_is_owed_settles_it(verb: Callable[[Work[Any], UUID], None]) -> None:
    player, invoice = upgraded()
    player.do(lambda w: verb(w, invoice.id))
    after = player.rows.get(Invoice, invoice.id)
    assert (after.status, after.settlement, after.remaining_minor) == ("paid", "forgiven", 0)
    assert player.balance == 0
    (note,) = player.rows.of(CreditNote)
    assert (note.invoice_id, note.amount_minor) == (invoice.id, OWED), "by the same note"


def test_only_what_is_credited_beyond_that_goes_to_the_balance() -> None:
    player, invoice = upgraded()
    player.do(lambda w: credit(PRICE)(w, invoice.id))
    assert player.rows.get(Invoice, invoice.id).status == "paid"
    assert player.balance == PRICE - OWED
    first, *_ = player.rows.of(Invoice)
    noted = {one.invoice_id: one.amount_minor for one in player.rows.of(CreditNote)}
    assert noted == {invoice.id: OWED, first.id: PRICE - OWED}


def test_a_part_of_it_is_owed_no_more_also_beyond_the_total() -> None:
    player, invoice = upgraded()
    player.do(lambda w: credit(OWED - 500)(w, invoice.id))
    assert player.rows.get(Invoice, invoice.id).remaining_minor == 500
    assert player.balance == 0


def test_a_forgiveness_that_left_a_debt_pays_for_no_subscription() -> None:
    """Its note is that of an earlier release, which left the debt; the subscription is past due."""
    player, invoice = upgraded()
    player.do(lambda w: credit(500)(w, invoice.id))
    (written,) = player.rows.of(CreditNote)
    key = notes.key(invoice, "forgiven")
    player.do(lambda w: w.change(written, fact_key=key))
    player.do(lambda w: w.change(player.subscription, status="past_due"))
    player.do(lambda w: FORGIVEN(w, invoice.id))
    assert player.rows.get(Invoice, invoice.id).status == "open"
    assert player.subscription.status == "past_due"
