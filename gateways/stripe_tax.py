"""The Stripe Tax implementation of the provider protocol: an address's tax rates, by a calculation.

A calculation has one line per category of goods, with a round amount; only its rates are read.
Stripe records nothing: a calculation is not a transaction.
"""

import logging
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

import stripe
from pydantic import TypeAdapter, ValidationError
from stripe import StripeClient

from billing.catalog.taxes.schemas import STANDARD, Jurisdiction
from billing.core.frozen import Frozen
from billing.core.money import ZERO
from billing.money.taxation.schemas import TaxQuestion
from gateways.list_limits import PAGE
from gateways.silence import Silence

AMOUNT: Final = 10_000
"""Amount of each line, in Stripe's units: below the sums from which goods are taxed differently."""
MAX_NAME: Final = 40
_ADDRESS: Final = ("country", "state", "postal_code", "city", "line1")
_PLACES: Final = Decimal("0.0001")
_logger = logging.getLogger("gateways.stripe_tax")


class _Place(Frozen):
    country: str
    state: str | None = None
    level: str
    display_name: str

    @property
    def key(self) -> str:
        """Return the catalog's code of the country or region, followed by a smaller place's name.

        Examples: `US`, `US-WA`, `US-WA Seattle`. A wider jurisdiction has a shorter key.
        """
        region = f"{self.country}-{self.state}" if self.state else self.country
        if self.level == "country":
            return self.country
        return region if self.level == "state" and self.state else f"{region} {self.display_name}"


class _Rate(Frozen):
    display_name: str
    percentage_decimal: Decimal


class _Tax(Frozen):
    jurisdiction: _Place
    tax_rate_details: _Rate | None = None
    taxable_amount: int

    def share(self, amount: int) -> Decimal:
        """Return the rate in percent of the whole line: a place may tax only a part of it."""
        if self.tax_rate_details is None or not self.taxable_amount:
            return ZERO
        rate = self.tax_rate_details.percentage_decimal
        if self.taxable_amount == amount:
            return rate
        return (rate * self.taxable_amount / amount).quantize(_PLACES)


class _Line(Frozen):
    reference: str
    amount: int
    tax_breakdown: tuple[_Tax, ...]


_LINES: Final = TypeAdapter(tuple[_Line, ...])


class StripeTax:
    """Implements `gateways.provider.TaxProvider`; returns None instead of raising."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client
        self._silence = Silence()

    async def jurisdictions(self, asked: TaxQuestion) -> tuple[Jurisdiction, ...] | None:
        if self._silence.is_kept():
            return None
        try:
            with self._silence.asking():
                return read(await self._lines(question(asked)), categories(asked))
        except stripe.StripeError as error:
            _logger.warning("Stripe Tax gave no rates: %s", error.user_message or error.code)
        except ValidationError:
            _logger.warning("Stripe Tax gave an answer that cannot be read")
        except ValueError as error:
            _logger.warning("Stripe Tax gave an answer that is not whole: %s", error)
        return None

    async def _lines(self, asked: Any) -> list[dict[str, Any]]:
        """Return every line of a calculation; fetch the lines after its first page separately."""
        calculations = self._client.v1.tax.calculations
        answer = await calculations.create_async(asked)
        found = answer.line_items
        if found is not None and found.has_more and answer.id is not None:
            found = await calculations.line_items.list_async(
                answer.id, {"limit": PAGE, "expand": ["data.tax_breakdown"]}
            )
        if found is None:
            return []
        return [line.to_dict() async for line in found.auto_paging_iter()]


def categories(asked: TaxQuestion) -> list[str]:
    """Return the categories of goods to query, one line each."""
    return sorted({STANDARD, *asked.codes})


def question(asked: TaxQuestion) -> Any:
    """Return the parameters of a calculation."""
    address = asked.model_dump(include=set(_ADDRESS), exclude_none=True)
    return {
        "currency": asked.currency.lower(),
        "customer_details": {"address": address, "address_source": "billing"},
        "line_items": [
            {"amount": AMOUNT, "reference": category, "tax_behavior": "exclusive"}
            | ({"tax_code": asked.codes[category]} if category in asked.codes else {})
            for category in categories(asked)
        ],
        "expand": ["line_items.data.tax_breakdown"],
    }


def read(answer: list[dict[str, Any]], asked: Collection[str]) -> tuple[Jurisdiction, ...]:
    """Return the jurisdictions that tax any category, the wider ones first.

    Errors: ValueError if the answer lacks a requested category.
    """
    lines = _LINES.validate_python(answer)
    if missing := set(asked) - {line.reference for line in lines}:
        raise ValueError(f"no rates for {', '.join(sorted(missing))}")
    rates: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(
        lambda: {STANDARD: ZERO} | {line.reference: ZERO for line in lines}
    )
    for line in lines:
        for tax in line.tax_breakdown:
            if share := tax.share(line.amount):
                name = tax.tax_rate_details.display_name[:MAX_NAME] if tax.tax_rate_details else ""
                rates[tax.jurisdiction.key, name][line.reference] += share
    ordered = sorted(rates.items(), key=lambda one: (len(one[0][0]), one[0]))
    return tuple(Jurisdiction(key=key, name=name, rates=found) for (key, name), found in ordered)
