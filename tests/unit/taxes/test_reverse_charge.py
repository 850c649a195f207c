"""Tax that was given back to a business of another country is not given back once more."""

from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any, Final
from uuid import UUID

import pytest

from billing.catalog.taxes.rules import rates
from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.matters.effects import Rows, Watch, Work
from billing.money.dunning.schemas import DunningCase
from billing.money.invoice_requests import corrections
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import CreditNote, Invoice, Line, NewInvoice
from billing.money.invoices.transitions import InvoiceFacts
from tests.unit.worked.player import Player

Case = dict[str, Any]
START: Final = "2027-01-01T10:00:00Z"
TEN_DAYS: Final = "2027-01-11T10:00:00Z"
SOLD: Final[Case] = {"ta": {"month": 1900}, "tb": {"month": 4900, "year": 49000}}


def taxed(interval: str = "month", **terms: Any) -> Player:
    """A customer who paid 20 % of tax on the plan tb."""
    return Player(
        {
            "currency": "EUR", "zone": "UTC", "plans": SOLD, "taxes": {"rates": {"standard": "20"}},
            "start": {"plan": "tb", "interval": interval, "at": START}, **terms,
        }
    )  # fmt: skip


def prove(player: Player) -> None:
    """The VAT id is proven: its tax goes back, and none is asked from now on."""
    player.case["taxes"]["exempt"] = True
    for invoice in player.rows.of(Invoice):
        player.do(lambda w, i=invoice.id: corrections.credit_tax(  # type: ignore[misc]
            w, i, country="XX", reason="proven", suffix="reverse-charge"))  # fmt: skip


def notes(player: Player) -> list[tuple[int, int]]:
    """Amount and tax of each credit note."""
    return [(one.amount_minor, one.tax_minor) for one in player.rows.of(CreditNote)]


def test_the_note_gives_back_tax_alone() -> None:
    player = taxed()
    prove(player)
    assert notes(player) == [(980, 980)]
    prove(player)
    assert player.balance == 980


@pytest.mark.parametrize(("interval", "rest"), [("month", 3319), ("year", 47658)])
def test_a_cancel_credits_what_is_left_without_it(interval: str, rest: int) -> None:
    player = taxed(interval)
    prove(player)
    given = player.balance
    player.play({"at": TEN_DAYS, "cancel": "credit"})
    assert player.balance == given + rest
    assert notes(player)[1] == (rest, 0)


def test_a_cancel_on_the_first_day_gives_back_all_that_was_paid_and_no_more() -> None:
    player = taxed()
    prove(player)
    player.play({"at": START, "cancel": "credit"})
    assert (player.balance, notes(player)) == (5880, [(980, 980), (4900, 0)])


def test_a_change_down_credits_what_is_left_without_it() -> None:
    player = taxed()
    prove(player)
    lines = player.play({"at": TEN_DAYS, "change": {"plan": "ta", "when": "now"}})
    assert [(one.kind, one.amount_minor, one.tax_minor) for one in lines] == [
        ("proration", -1287, 0),
        ("plan", 1287, 0),
    ]
    assert notes(player)[1] == (3319 - 1287, 0)


def test_tax_that_a_change_has_credited_is_not_given_back_by_the_note() -> None:
    player = taxed()
    player.play({"at": TEN_DAYS, "change": {"plan": "tb", "interval": "year"}})
    prove(player)
    [(first, _), (second, _), (moved, _)] = notes(player)
    # 33.19 were not used, with 20 %; the year's own tax goes back whole, by two notes.
    assert (first, second, moved) == (980 - 664, 9800 - 664, 664)


def test_a_note_that_gave_back_a_part_has_given_back_its_tax() -> None:
    player = taxed()
    paid = player.rows.of(Invoice)[0]
    player.do(lambda w: corrections.credit(
        w, paid.id, amount=588, lines=(), reason="r", to="balance", suffix="x",
        tries=True))  # fmt: skip
    prove(player)
    assert notes(player) == [(588, 98), (882, 882)]


def test_tax_that_was_the_rest_of_a_debt_is_not_forgiven() -> None:
    player = taxed()
    paid = player.rows.of(Invoice)[0]
    fields = {"status": "open", "amount_paid_minor": 5000, "paid_at": None, "settlement": None}
    owed = paid.model_copy(update=fields)
    others = [one for one in player.rows.all() if one.id != owed.id]
    case = DunningCase(
        id=UUID(int=99), account_id=owed.account_id, invoice_id=owed.id, status="open", policy={},
        zone="UTC", day_zero_at=player.now, last_slot=3, last_slot_ran_at=player.now,
        last_true_attempt_at=player.now, opened_at=player.now,
    )  # fmt: skip
    player.rows = Rows([*others, owed, case])
    prove(player)
    found = player.rows.get(Invoice, owed.id)
    assert (found.status, found.settlement, notes(player)) == ("paid", "credited", [(980, 980)])
    closed = player.rows.get(DunningCase, case.id)
    assert (closed.status, closed.close_reason) == ("canceled", "proven")


@pytest.mark.parametrize(
    ("plans", "rate", "kept", "taxes"),
    [
        ((10000, 10100), "19", 10100, [(19, 19), (1900, 1900)]),
        # 101.00 and 21 %, less 119.00 of the first invoice: the rest is a note on that.
        ((10000, 10100), "21", 10100, [(321, 321), (1800, 1800)]),
        ((10000, 10000), "21", 10000, [(200, 200), (1900, 1900)]),
        # No more tax than the first invoice has charged of what it paid: 9.66 of 60.50.
        ((10000, 5000), "21", 5084, [(5850, 934), (966, 966)]),
    ],
)
def test_tax_at_another_rate_than_that_of_the_invoice_that_paid_goes_back(
    plans: tuple[int, int], rate: str, kept: int, taxes: list[tuple[int, int]]
) -> None:
    first, second = plans
    sold = {"ta": {"month": first}, "tb": {"month": second}}
    start = {"plan": "ta", "interval": "month", "at": START}
    player = taxed(plans=sold, start=start, taxes={"rates": {"standard": "19"}})
    player.case["taxes"]["rates"] = {"standard": rate}
    player.play({"at": START, "change": {"plan": "tb", "when": "now"}})
    prove(player)
    assert notes(player) == taxes
    paid = sum(one.amount_paid_minor for one in player.rows.of(Invoice))
    assert paid - player.balance == kept
    player.play({"at": START, "cancel": "credit"})
    assert paid == player.balance, "no tax is given back twice"


ASKING: Final = Taxation(
    seller="DE",
    country="AT",
    jurisdictions=(Jurisdiction(key="AT", name="USt", rates={"standard": Decimal(20)}),),
)


@pytest.mark.parametrize("reason", ["reverse_charge", "exempt", None])
def test_the_reason_is_stated_where_no_tax_is_collected(reason: str | None) -> None:
    freed = {"exempt": reason == "exempt", "vat_proven": reason == "reverse_charge"}
    found = rates(Taxation(seller="DE", country="AT").model_copy(update=freed), "standard", "EUR")
    shown = [(one.jurisdiction, str(one.rate), str(one.reason)) for one in found]
    assert shown == ([("AT", "0", reason)] if reason else [])


@pytest.mark.parametrize("known", [ASKING, ASKING.model_copy(update={"vat_proven": True})])
def test_a_draft_that_is_numbered_after_the_proof_has_its_tax_given_back(known: Taxation) -> None:
    me, ids, now = UUID(int=1), count(2), datetime.fromisoformat(START)
    rows = Rows()

    def new_id() -> UUID:
        return UUID(int=next(ids))

    def work(taxation: Taxation) -> Work[InvoiceFacts]:
        facts = InvoiceFacts(at=now, real_at=now, new_id=new_id, taxation=taxation)
        return Work(rows, facts)

    line = Line(kind="pack", description="", unit_amount=Decimal(1000), amount_minor=1000)
    drafted = invoices.draft(work(ASKING), NewInvoice(
        account_id=me, issuer_id=None, workflow_id="purchase/x", fact_key="x", currency="EUR",
        lines=(line,)))  # fmt: skip
    w = work(known)
    invoices.receive(w, drafted, 1200)
    owed = [one for one in w.effects if isinstance(one, Watch)]
    assert owed == ([Watch(me, due=now)] if known.vat_proven else [])


def test_a_use_that_is_taken_back_later_comes_back_without_it() -> None:
    ids, now = count(2), datetime.fromisoformat(START)

    def new_id() -> UUID:
        return UUID(int=next(ids))

    w = Work(Rows(), InvoiceFacts(at=now, real_at=now, new_id=new_id, taxation=ASKING))
    lines = (
        Line(kind=kind, description="", unit_amount=Decimal(minor), amount_minor=minor)
        for kind, minor in (("plan", 4900), ("usage", 1000))
    )
    paid = invoices.receive(w, invoices.draft(w, NewInvoice(
        account_id=UUID(int=1), issuer_id=None, workflow_id="subscription/x", fact_key="x",
        currency="EUR", lines=tuple(lines))), 7080)  # fmt: skip
    left = partial(corrections.left_of_use, w, paid.id, amount=1200, to="balance")
    assert left() == (1200, False)
    corrections.credit_tax(w, paid.id, country="AT", reason="proven", suffix="reverse-charge")
    assert left() == (1000, False)


def test_notes_of_an_end_give_back_no_more_tax_than_each_invoice_charged() -> None:
    player = taxed(start={"plan": "ta", "interval": "month", "at": START})
    player.play({"at": TEN_DAYS, "change": {"plan": "tb"}})
    player.play({"at": TEN_DAYS, "cancel": "credit"})
    [(second, tax), (first, moved)] = notes(player)
    totals = [(one.total_minor, one.tax_minor) for one in player.rows.of(Invoice)]
    # 39.83 less 15.45 were charged, with 20 %; the 15.45 are money of the first invoice.
    assert totals == [(2280, 380), (2438, 406)]
    assert [(second, tax), (first, moved)] == [(2438, 406), (1545, 258)]
    assert player.balance == 3983
