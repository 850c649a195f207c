"""Calculations of Stripe Tax: what is asked, and the rates that are read out of the answers."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import stripe
from pydantic import ValidationError

from billing.catalog.taxes.rules import rates
from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.money.taxation.rules import next_quote
from billing.money.taxation.schemas import TaxQuestion
from gateways.stripe_tax import AMOUNT, StripeTax, question, read

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


def answer(**lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": f"line_{name}", "reference": name, "amount": AMOUNT, "tax_breakdown": taxes}
        for name, taxes in lines.items()
    ]


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


def test_an_answer_of_another_shape_is_none() -> None:
    with pytest.raises(ValidationError):
        read([{}], ())


class _Stripe(stripe.HTTPClient):
    """Stripe Tax: a calculation with the first ten of its lines, then pages of as many as asked."""

    name = "stand-in"

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self._known = lines
        self.asked: list[str] = []

    async def request_async(
        self, method: str, url: str, headers: Any, post_data: Any = None
    ) -> tuple[bytes, int, dict[str, str]]:
        self.asked.append(method)
        if method == "post":
            lines = self._page(self._known, 10)
            body: dict[str, Any] = {"object": "tax.calculation", "id": "taxcalc_1"}
            return json.dumps(body | {"line_items": lines}).encode(), 200, {}
        asked = parse_qs(urlsplit(url).query)
        assert asked["expand[0]"] == ["data.tax_breakdown"]
        ids = [line["id"] for line in self._known]
        start = ids.index(asked["starting_after"][0]) + 1 if "starting_after" in asked else 0
        page = self._page(self._known[start:], int(asked["limit"][0]))
        return json.dumps(page).encode(), 200, {}

    @staticmethod
    def _page(lines: list[dict[str, Any]], limit: int) -> dict[str, Any]:
        url = "/v1/tax/calculations/taxcalc_1/line_items"
        return {
            "object": "list", "url": url, "data": lines[:limit], "has_more": len(lines) > limit,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("categories", "requests"),
    [(9, ["post"]), (10, ["post", "get"]), (150, ["post", "get", "get"])],
)
async def test_of_many_categories_the_lines_behind_the_first_page_are_asked_for(
    categories: int, requests: list[str]
) -> None:
    codes = {f"c{number:03}": "txcd_10302000" for number in range(categories)}
    lines = answer(**{name: [tax("7.0")] for name in sorted({"standard", *codes})})
    wire = _Stripe(lines)
    client = stripe.StripeClient("sk_test_x", http_client=wire)
    found = await StripeTax(client).jurisdictions(ASKED.model_copy(update={"codes": codes}))
    assert found is not None
    assert set(found[0].rates) == {"standard", *codes}
    assert set(found[0].rates.values()) == {Decimal(7)}
    assert wire.asked == requests


@pytest.mark.parametrize("missing", ["standard", "books"])
def test_an_answer_without_a_category_that_was_asked_for_is_none(missing: str) -> None:
    left = answer(**{name: [tax("7.0")] for name in {"standard", "books"} - {missing}})
    with pytest.raises(ValueError, match=missing):
        read(left, {"standard", "books"})


def test_a_provider_is_asked_daily_and_one_that_is_away_soon_then_hourly_and_then_daily() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    gaps = [next_quote(at, tries) - at for tries in (0, 1, 2, 24, 25, 500)]
    soon, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    assert gaps == [day, soon, hour, hour, day, day]
