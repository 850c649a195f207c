"""Calculations of Stripe Tax: what is asked, and the rates that are read out of the answers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from billing.catalog.taxes.rules import rates
from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.money.taxation.rules import next_quote
from billing.money.taxation.schemas import TaxQuestion
from gateways.stripe_tax import AMOUNT, question, read

ASKED = TaxQuestion(
    digest="d", country="US", state="WA", postal_code="98101", currency="USD",
    codes={"books": "txcd_10302000"},
)  # fmt: skip


def tax(
    percent: str | None, level: str = "country", name: str = "VAT", taxable: int = AMOUNT, **at: Any
) -> dict[str, Any]:
    """A tax of a line; without a percentage it is not imposed."""
    details = {"display_name": name, "percentage_decimal": percent, "tax_type": "vat"}
    return {
        "amount": 0,
        "jurisdiction": {"country": "US", "state": None, "display_name": "-", "level": level} | at,
        "sourcing": "destination",
        "tax_rate_details": details if percent is not None else None,
        "taxability_reason": "standard_rated" if percent is not None else "not_collecting",
        "taxable_amount": taxable if percent is not None else 0,
    }


def answer(**lines: list[dict[str, Any]]) -> dict[str, Any]:
    data = [
        {"reference": name, "amount": AMOUNT, "tax_breakdown": taxes}
        for name, taxes in lines.items()
    ]
    return {"object": "tax.calculation", "line_items": {"object": "list", "data": data}}


def rated(**lines: list[dict[str, Any]]) -> tuple[Jurisdiction, ...]:
    """The rates of an answer with all that was asked for."""
    return read(answer(**lines), lines)


def test_each_category_is_a_line_and_the_preset_code_stands_for_the_standard_one() -> None:
    asked = question(ASKED)
    address = {"country": "US", "state": "WA", "postal_code": "98101"}
    assert asked["currency"] == "usd"
    assert asked["customer_details"] == {"address": address, "address_source": "billing"}
    books, standard = asked["line_items"]
    assert (books["reference"], books["tax_code"]) == ("books", "txcd_10302000")
    assert standard == {"amount": AMOUNT, "reference": "standard", "tax_behavior": "exclusive"}
    assert asked["expand"] == ["line_items.data.tax_breakdown"]


def test_a_country_with_a_rate_by_category() -> None:
    found = rated(standard=[tax("19.0")], books=[tax("7.0")])
    both = {"standard": Decimal(19), "books": Decimal(7)}
    assert found == (Jurisdiction(key="US", name="VAT", rates=both),)


def test_a_state_and_what_is_within_it_each_ask_beside_the_other() -> None:
    state = tax("6.5", "state", "Sales Tax", state="WA", display_name="Washington")
    city = tax("3.85", "city", "Sales Tax", state="WA", display_name="Seattle")
    found = rated(standard=[city, state], books=[tax(None)])
    assert [one.key for one in found] == ["US-WA", "US-WA Seattle"]
    shown = rates(Taxation(country="US", jurisdictions=found), "standard", "USD")
    assert [(one.jurisdiction, one.rate) for one in shown] == [
        ("US-WA", Decimal("6.5")), ("US-WA Seattle", Decimal("3.85")),
    ]  # fmt: skip
    assert [one.rates["books"] for one in found] == [0, 0], "books are free of it"


def test_of_a_line_that_is_taxed_in_part_the_rate_is_that_of_the_whole() -> None:
    part = tax("6.25", "state", "Sales Tax", taxable=AMOUNT * 4 // 5, state="TX")
    [texas] = rated(standard=[part])
    assert texas.rates == {"standard": Decimal("5.0000")}


def test_two_taxes_of_one_place_stay_two() -> None:
    found = rated(standard=[tax("5", name="GST"), tax("7", name="PST")])
    assert [(one.name, one.rates["standard"]) for one in found] == [
        ("GST", Decimal(5)), ("PST", Decimal(7)),
    ]  # fmt: skip


def test_where_nothing_is_collected_nobody_asks() -> None:
    assert rated(standard=[tax(None)]) == ()


@pytest.mark.parametrize("body", [{}, {"line_items": None}, {"line_items": {"data": [{}]}}])
def test_an_answer_of_another_shape_is_none(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(body, ())


def test_an_answer_with_a_part_of_the_lines_is_none() -> None:
    whole = answer(standard=[tax("19.0")], books=[tax("7.0")])
    assert read(whole, {"standard", "books"})
    whole["line_items"]["has_more"] = True
    with pytest.raises(ValidationError):
        read(whole, {"standard", "books"})


@pytest.mark.parametrize("missing", ["standard", "books"])
def test_an_answer_without_a_category_that_was_asked_for_is_none(missing: str) -> None:
    left = answer(**{name: [tax("7.0")] for name in {"standard", "books"} - {missing}})
    with pytest.raises(ValueError, match=missing):
        read(left, {"standard", "books"})


def test_a_provider_is_asked_daily_and_one_that_is_away_hourly_and_then_daily() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    gaps = [next_quote(at, tries) - at for tries in (0, 1, 23, 24, 500)]
    hour, day = timedelta(hours=1), timedelta(days=1)
    assert gaps == [day, hour, hour, day, day]
