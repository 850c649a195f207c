"""Credit notes of other billing systems' public tests (tests/golden/README.md).

A note here is an amount with its tax; the sources name its net amount.
"""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from billing.core.money import round_exact
from billing.matters.effects import Rows, Work
from billing.money.invoices import giving_back, notes
from billing.money.invoices.note_taxes import with_taxes
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.subscriptions.periods import proration
from tests.unit.golden.cases import cases

Json = dict[str, Any]
NOBODY = UUID(int=1)


def line(amount: int, tax: int, *, inclusive: bool = False, position: int = 1) -> InvoiceLine:
    rate = {"name": "tax", "rate": "20", "inclusive": inclusive, "amount_minor": tax}
    return InvoiceLine(
        id=UUID(int=position), account_id=NOBODY, invoice_id=NOBODY, position=position,
        kind="plan", description="", quantity=Decimal(1), unit_amount=Decimal(amount),
        amount_minor=amount, tax_minor=tax, tax_included_minor=tax if inclusive else 0,
        taxes=[rate],
    )  # fmt: skip


def note(amount: int, taxes: list[Json]) -> CreditNote:
    return CreditNote(
        id=UUID(int=9), account_id=NOBODY, invoice_id=NOBODY, kind="operator", fact_key="note",
        series="CN", reason="", amount_minor=amount, currency="EUR", taxes=taxes,
        created_at=datetime(2027, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def tax_of(taxes: list[Json]) -> int:
    return sum(one["amount_minor"] for one in taxes)


def has(*names: str) -> list[Any]:
    """The cases whose input has these names."""
    found = cases("refunds", "credit_note")
    return [one for one in found if set(names) <= one.values[0].keys()]


@pytest.mark.parametrize(("given", "expected"), has("mode", "amount_minor"))
def test_the_tax_that_goes_back_is_its_share(given: Json, expected: Json) -> None:
    inclusive = given["mode"] == "inclusive"
    amount, tax = given["amount_minor"], given["tax_minor"]
    charged = line(amount, tax, inclusive=inclusive)
    net = amount - tax if inclusive else amount
    asked = given.get("refund_gross_minor") or round_exact(
        Fraction(given.get("refund_net_minor", 0) * charged.total_minor, net)
    )
    asked = min(asked, charged.total_minor)
    back = tax_of(with_taxes(giving_back.of_lines([charged]), asked).as_rows)
    assert back == expected["tax_minor"]
    assert asked - back == expected.get("net_minor", asked - back)


@pytest.mark.parametrize(("given", "expected"), has("invoice", "notes_net_minor"))
def test_the_last_note_gives_back_the_tax_that_is_left(given: Json, expected: Json) -> None:
    charged = line(given["invoice"]["net_minor"], given["invoice"]["tax_minor"])
    written: list[CreditNote] = []
    for amount in expected["notes_total_minor"]:
        left = giving_back.less(giving_back.of_lines([charged]), written)
        written.append(note(amount, with_taxes(left, amount).as_rows))
    assert [tax_of(one.taxes) for one in written] == expected["notes_tax_minor"]
    nets = [one.amount_minor - tax_of(one.taxes) for one in written]
    assert nets[-1] == given["notes_net_minor"][-1]


@pytest.mark.parametrize(("given", "expected"), has("lines_minor", "percent_off"))
def test_named_lines_give_back_their_own_tax(given: Json, expected: Json) -> None:
    off, rate = (Fraction(given[name]) / 100 for name in ("percent_off", "rate"))
    lines = []
    for place, whole in enumerate([*given["lines_minor"], 500, 700], start=1):
        net = round_exact(whole * (1 - off))
        lines.append(line(net, round_exact(net * rate), position=place))
    named = [
        {"position": one.position, "amount_minor": one.total_minor}
        for one in lines[: len(given["lines_minor"])]
    ]
    amount = sum(one["amount_minor"] for one in named)
    assert amount == expected["total_minor"]
    left = giving_back.of_lines(lines)
    assert tax_of(with_taxes(left, amount, lines, named).as_rows) == expected["tax_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("proration", "credit_cap"))
def test_no_more_goes_back_than_is_left_of_what_was_paid(given: Json, expected: Json) -> None:
    left = giving_back.Part(given["paid_minor"] - given["credited_before_minor"], {})
    found = giving_back.Part(given["potential_minor"], {}).within(left)
    assert found.total_minor == expected["credit_minor"]


@pytest.mark.parametrize(("given", "expected"), has("charged_minor", "rate"))
def test_what_is_unused_goes_back_by_the_second(given: Json, expected: Json) -> None:
    names = ("period_start", "period_end", "at")
    unused = proration.rest(*(datetime.fromisoformat(given[name]) for name in names))
    tax = round_exact(Fraction(given["charged_minor"]) * Fraction(given["rate"]) / 100)
    whole = giving_back.of_lines([line(given["charged_minor"], tax)])
    back = whole.share(unused)
    assert back.total_minor == expected["total_minor"]
    assert (back.net_minor, back.total_minor - back.net_minor) == (
        expected["net_minor"], expected["tax_minor"],
    )  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), has("note_total_minor", "invoice_paid_minor"))
def test_a_note_takes_what_is_owed_and_the_rest_is_the_customers(
    given: Json, expected: Json
) -> None:
    total = given["invoice_total_minor"]
    now = datetime(2027, 1, 15, tzinfo=UTC)
    owing = Invoice(
        id=NOBODY, account_id=NOBODY, workflow_id="subscription/sub_1", fact_key="f",
        status="open", currency="EUR", subtotal_minor=6200, tax_minor=1240, total_minor=total,
        amount_due_minor=total, amount_paid_minor=given["invoice_paid_minor"], series="INV",
        number="INV-1", finalized_at=now, created_at=now,
    )  # fmt: skip
    numbers = count(100)
    facts = InvoiceFacts(at=now, real_at=now, new_id=lambda: UUID(int=next(numbers)))
    lines = [line(3100, 620, position=place) for place in (1, 2)]
    work = Work(Rows([owing, *lines]), facts)
    note = notes.NewNote("canceled", given["note_total_minor"], "ended", "end")
    changed = notes.credit_note(work, owing, note)
    credited = changed.amount_credited_minor
    assert credited == expected["credit_minor"]
    assert given["note_total_minor"] - credited == expected["refund_minor"]
    told = sum(one.amount_minor for one in work.rows.of(BalanceEntry))
    assert told == expected["refund_minor"]
