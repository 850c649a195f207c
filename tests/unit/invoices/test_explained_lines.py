"""The arithmetic of a line, as people read it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.catalog.rating.schemas import PriceTerms
from billing.matters.effects import Rows
from billing.money.invoices import arrears
from billing.money.invoices.arrears import Arrear
from billing.money.invoices.explaining import explain
from billing.money.invoices.schemas import InvoiceLine

START, END = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
TIERS = [
    {"units": "100", "unit_price": "0.1", "flat_price": "1", "amount": "11"},
    {"units": "50", "unit_price": "0.05", "flat_price": "0", "amount": "2.5"},
]


def line(amount: int, quantity: str = "1", unit: str = "0", **fields: Any) -> InvoiceLine:
    return InvoiceLine(
        id=UUID(int=1), account_id=UUID(int=2), invoice_id=UUID(int=3), position=1, kind="usage",
        description="", quantity=Decimal(quantity), unit_amount=Decimal(unit),
        amount_minor=amount, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (line(5700, "3", "1900"), "3.00 x 19.00 = 57.00 USD"),
        (line(6, "11.5", "0.5"), "11.50 x 0.005 = 0.06 USD"),
        (line(1620, "1155", "1.4"), "1155.00 units, each use at its own price = 16.20 USD"),
        (
            line(850, "150", "9", detail={"tiers": TIERS, "billed_minor": 500}),
            "1.00 + 100.00 x 0.10 + 50.00 x 0.05, less 5.00 USD billed before = 8.50 USD",
        ),
        (
            # 90 at 0.05 are 4.50, but from 100 on each costs 0.031.
            line(210, "20", "10.5", detail={
                "tiers": [{"units": "90", "unit_price": "0.05", "flat_price": "0"}],
                "at_most": {"units": "100", "unit_price": "0.031", "flat_price": "0"},
                "billed_minor": 100,
            }),
            (
                "90.00 x 0.05, but so far at most 100.00 x 0.031, the least that the cycle can"
                " cost, less 1.00 USD billed before = 2.10 USD"
            ),
        ),
        (
            line(1000, detail={"of_minor": 2000, "share": "1/2"}),
            "20.00 USD x 1/2 of the period = 10.00 USD",
        ),
        (
            line(51980, "2", "25990", detail={"of_minor": 51980, "share": "1"}),
            "2.00 x 259.90 = 519.80 USD",
        ),
        (
            line(25990, "2", "25990", detail={"of_minor": 51980, "share": "1/2"}),
            "2.00 x 259.90 x 1/2 of the period = 259.90 USD",
        ),
        (line(-950, detail={"of_minor": 1900}), "not used of 19.00 USD = -9.50 USD"),
        (
            line(980, detail={"least_minor": 2500, "spent_minor": 1520}),
            "at least 25.00 USD, less 15.20 USD spent = 9.80 USD",
        ),
        (
            line(
                1999, "1", "1999",
                discounts=[{"code": "TEN", "amount_minor": 200}],
                taxes=[
                    {"name": "VAT", "rate": "7.5", "inclusive": False, "amount_minor": 135},
                    {"name": "Levy", "rate": "0", "inclusive": True, "amount_minor": 0,
                     "reason": "reverse_charge"},
                ],
            ),
            (
                "1.00 x 19.99 = 19.99 USD; less TEN 2.00 USD; with 7.50 % VAT 1.35 USD;"
                " holds 0 % Levy 0.00 USD (reverse charge)"
            ),
        ),
    ],
)  # fmt: skip
def test_a_line_says_the_sum_that_made_it(shown: InvoiceLine, words: str) -> None:
    assert explain(shown, "USD") == words


def test_a_line_that_is_rounded_with_an_earlier_one_names_what_that_billed() -> None:
    """Half a cent each: the first unit is billed a cent, so the second one costs nothing more."""
    used = Arrear(
        start_at=START, end_at=END, zone="UTC", currency="USD", meter="calls", name="Calls",
        unit="call", sold="pro", tax_category="standard",
        terms=PriceTerms(unit_price=Decimal("0.005")), quantity=Decimal(2), overage=Decimal(2),
        overage_total=Decimal("0.01"), events=2, billed_units=Decimal(1),
        billed_total=Decimal("0.005"), billed_minor=1,
    )  # fmt: skip
    assert explained(used) == ["2.00 x 0.005, less 0.01 USD billed before = 0.00 USD"]

    three = {"quantity": Decimal(3), "overage": Decimal(3), "overage_total": Decimal("0.015")}
    assert explained(used.model_copy(update=three)) == ["2.00 x 0.005 = 0.01 USD"]


def explained(used: Arrear) -> list[str]:
    """The words for the lines that bill this use at the close of its cycle."""
    return [
        explain(
            line(one.amount_minor, str(one.quantity), str(one.unit_amount), detail=one.detail),
            "USD",
        )
        for one in arrears.lines(Rows(), (used,), before=END)
    ]
