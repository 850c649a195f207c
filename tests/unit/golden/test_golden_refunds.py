"""Credit notes of other billing systems' public tests (tests/golden/README.md).

A note here is an amount with its tax; the sources name its net amount.
"""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

from billing.core.money import round_exact
from billing.money.invoices import giving_back
from billing.money.invoices.note_taxes import taxes_of_note
from billing.money.invoices.schemas import CreditNote, InvoiceLine
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
        id=UUID(int=9), account_id=NOBODY, invoice_id=NOBODY, fact_key="note", series="CN",
        reason="", amount_minor=amount, currency="EUR", taxes=taxes,
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
    back = tax_of(taxes_of_note(giving_back.of_lines([charged]), asked))
    assert back == expected["tax_minor"]
    assert asked - back == expected.get("net_minor", asked - back)


@pytest.mark.parametrize(("given", "expected"), has("invoice", "notes_net_minor"))
def test_the_last_note_gives_back_the_tax_that_is_left(given: Json, expected: Json) -> None:
    charged = line(given["invoice"]["net_minor"], given["invoice"]["tax_minor"])
    written: list[CreditNote] = []
    for amount in expected["notes_total_minor"]:
        left = giving_back.less(giving_back.of_lines([charged]), written)
        written.append(note(amount, taxes_of_note(left, amount)))
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
    assert tax_of(taxes_of_note(left, amount, lines, named)) == expected["tax_minor"]
