"""The product against figures of other billing systems' public tests (tests/golden/README.md)."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from billing.catalog.rating.rules import charge, cost
from billing.catalog.rating.schemas import PriceTerms
from billing.core import periods
from billing.core.currencies import charging, collectable, to_provider
from billing.core.money import exponent, round_minor
from billing.core.periods import Interval
from billing.money.payments.declines import classify
from billing.money.subscriptions.periods.true_ups import rest
from tests.unit.golden.cases import cases

Json = dict[str, Any]


def minor(amount: str, currency: str) -> int:
    """An amount in whole units as minor units; none of these has a smaller part."""
    return int(Decimal(amount).scaleb(exponent(currency)))


@pytest.mark.parametrize(("given", "expected"), cases("declines", "decline"))
def test_a_decline_means_what_others_take_it_for(given: Json, expected: Json) -> None:
    assert classify(given["decline_code"], "card_declined") == expected["class"]


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "exponent"))
def test_a_currency_has_the_decimals_of_iso(given: Json, expected: Json) -> None:
    assert exponent(given["currency"]) == expected["exponent"]


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "provider_units"))
def test_an_amount_is_sent_in_the_units_of_the_provider(given: Json, expected: Json) -> None:
    due = minor(given["amount"], given["currency"])
    assert to_provider(due, given["currency"]) == expected["provider_amount"]


@pytest.mark.parametrize(("given", "expected"), cases("invoice", "provider_step"))
def test_an_amount_between_two_steps_goes_down_to_the_lower(given: Json, expected: Json) -> None:
    currency = given["currency"]
    due = minor(given["amount"], currency)
    whole = due - due % charging(currency).step
    assert to_provider(whole, currency) == expected["provider_amount"]
    assert collectable(due, currency) == whole


@pytest.mark.parametrize(("given", "expected"), cases("tiers", "rate"))
def test_units_cost_what_others_charge_for_them(given: Json, expected: Json) -> None:
    names = ("model", "unit_price", "package_size", "free_units", "tiers")
    terms = PriceTerms.model_validate({name: given[name] for name in names if name in given})
    before, units = Decimal(given["before"]), Decimal(given["units"])
    assert cost(terms, before + units) - cost(terms, before) == Decimal(expected["amount"])


@pytest.mark.parametrize(("given", "expected"), cases("tiers", "percentage"))
def test_a_percentage_of_a_value_costs_what_others_charge(given: Json, expected: Json) -> None:
    """By tiers it is a graduated price of the value; else each transaction has its own."""
    if "tiers" in given:
        tiers = [
            {name: known for name, known in tier.items() if name != "percent"}
            | {"unit_price": str(Decimal(tier["percent"]) / 100)}
            for tier in given["tiers"]
        ]
        graduated = PriceTerms.model_validate({"model": "graduated", "tiers": tiers})
        assert cost(graduated, Decimal(given["units"])) == Decimal(expected["amount"])
        return
    bounds = {"minimum": "minimum_per_transaction", "maximum": "maximum_per_transaction"}
    by = {name: given[known] for name, known in bounds.items() if known in given}
    terms = PriceTerms.model_validate(
        {"model": "percentage", "percentage": {"percent": given["percent"], **by}}
    )
    values = [Decimal(value) for value in given.get("values", [given.get("value")])]
    found = sum(charge(terms, Decimal(0), value, "USD", uses=0) for value in values)
    assert found == Decimal(expected["amount"])


@pytest.mark.parametrize(("given", "expected"), cases("tiers", "commitment"))
def test_a_commitment_is_brought_up_by_what_others_charge(given: Json, expected: Json) -> None:
    currency = given["currency"]
    used = round_minor(Decimal(given["used"]).scaleb(exponent(currency)))
    assert rest(minor(given["commitment"], currency), used) == expected["amount_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("tiers", "minimum"))
def test_a_minimum_is_brought_up_by_what_others_charge(given: Json, expected: Json) -> None:
    spent = minor(given["billed_before"], "USD")
    assert rest(minor(given["minimum"], "USD"), spent) == minor(expected["amount"], "USD")


@pytest.mark.parametrize(("given", "expected"), cases("tiers", "line"))
def test_a_line_is_rounded_once(given: Json, expected: Json) -> None:
    amount = Decimal(given["units"]) * Decimal(given["unit_price"])
    assert round_minor(amount.scaleb(exponent(given["currency"]))) == expected["amount_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("periods", "period"))
def test_an_instant_lies_in_the_period_that_others_find(given: Json, expected: Json) -> None:
    zone, interval = given["zone"], Interval.model_validate(given["interval"])
    anchor = periods.to_wall(datetime.fromisoformat(given["anchor"]), zone)
    number = periods.index_at(anchor, zone, interval, datetime.fromisoformat(given["at"]))
    found = [periods.boundary(anchor, zone, interval, number + step) for step in (0, 1)]
    assert found == [datetime.fromisoformat(expected[name]) for name in ("start", "end")]


@pytest.mark.parametrize(("given", "expected"), cases("periods", "billing_day"))
def test_a_billing_day_begins_the_periods_that_others_find(given: Json, expected: Json) -> None:
    zone, interval = given["zone"], Interval.model_validate(given["interval"])
    begins, at = (datetime.fromisoformat(given[name]) for name in ("begins", "at"))
    wall = periods.to_wall(begins, zone)
    anchor, whole = periods.anchor_on(given["billing_day"], wall, interval)
    first = periods.boundary(anchor, zone, interval, whole)
    found = [begins, first]
    if at >= first:
        number = periods.index_at(anchor, zone, interval, at)
        found = [periods.boundary(anchor, zone, interval, number + step) for step in (0, 1)]
    assert found == [datetime.fromisoformat(expected[name]) for name in ("start", "end")]
