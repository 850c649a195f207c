"""The sums of invoices against figures of other billing systems (tests/golden/README.md)."""

from decimal import Decimal
from typing import Any

import pytest

from billing.catalog.taxes.schemas import TaxRate
from billing.core.money import exponent, round_minor
from billing.money.discounts.schemas import DiscountTerms as Discount
from billing.money.invoices.schemas import Line
from billing.money.invoices.sums import SummedLine, sum_lines
from tests.unit.golden.cases import cases

Json = dict[str, Any]


def rate(percent: str, *, inclusive: bool = False) -> TaxRate:
    return TaxRate(
        jurisdiction="DE", category="standard", name=percent, rate=Decimal(percent),
        inclusive=inclusive,
    )  # fmt: skip


def line(amount_minor: int, *taxes: TaxRate, kind: str = "plan") -> Line:
    return Line(
        kind=kind, description=kind, unit_amount=Decimal(amount_minor), amount_minor=amount_minor,
        taxes=taxes,
    )  # fmt: skip


def sums(lines: list[SummedLine]) -> Json:
    return {
        "discount_minor": sum(one.discount_minor for one in lines),
        "tax_minor": sum(one.tax_minor for one in lines),
        "total_minor": sum(one.total_minor for one in lines),
    }


def hold(found: Json, expected: Json) -> None:
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "invoice"))
def test_an_invoice_sums_to_what_others_ask(given: Json, expected: Json) -> None:
    lines = [
        line(one["amount_minor"], *(rate(tax) for tax in one["tax_rates"]), kind=one["id"])
        for one in given["lines"]
    ]
    coupons = [
        Discount(
            code=f"c{place}",
            percent=Decimal(one["percent"]) if "percent" in one else None,
            amount_minor=one.get("amount_minor"),
            kinds=tuple(one.get("lines", ())),
        )
        for place, one in enumerate(given["coupons"])
    ]
    hold(sums(sum_lines(lines, coupons)), expected)


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "tax"))
def test_a_tax_comes_to_what_others_ask(given: Json, expected: Json) -> None:
    hold(sums(sum_lines([line(given["taxable_minor"], rate(given["rate"]))])), expected)


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "inclusive"))
def test_an_inclusive_price_holds_its_tax(given: Json, expected: Json) -> None:
    tax = rate(given["rate"], inclusive=given["inclusive"])
    hold(sums(sum_lines([line(given["amount_minor"], tax)])), expected)


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "split"))
def test_a_discount_is_spread_as_others_spread_it(given: Json, expected: Json) -> None:
    coupon = Discount(
        code="c",
        percent=Decimal(given["percent"]) if "percent" in given else None,
        amount_minor=given.get("discount_minor"),
    )
    found = sum_lines([line(amount) for amount in given["amounts_minor"]], [coupon])
    assert [one.discount_minor for one in found] == expected["parts_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "round"))
def test_an_amount_is_rounded_as_others_round_it(given: Json, expected: Json) -> None:
    scaled = Decimal(given["amount"]).scaleb(exponent(given["currency"]))
    assert round_minor(scaled) == expected["amount_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "subtotal"))
def test_a_subtotal_is_the_sum_of_rounded_lines(given: Json, expected: Json) -> None:
    scaled = (Decimal(one).scaleb(exponent(given["currency"])) for one in given["amounts"])
    assert sum(round_minor(one) for one in scaled) == expected["subtotal_minor"]
