"""Rates of the tax provider, by the very address; the catalog's while it has not answered."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from api.app import create_app
from billing.core.database import open_database
from cli.ask_taxes import ask_taxes
from tests.integration.actors import Actors, Customer
from tests.integration.api_app import stack_settings
from tests.integration.money_seen import newest_invoice
from tests.integration.taxes.taxed_addresses import CLOCK, collect, moved_to
from workflows.client import connect

Json = dict[str, Any]
PATH = "/v1/tax/calculations"
SEATTLE = {
    "line1": "400 Broad St", "city": "Seattle", "state": "WA", "postal_code": "98109",
    "country": "US",
}  # fmt: skip
WASHINGTON = [
    {"level": "state", "place": "Washington", "tax": "Sales Tax", "percent": "6.5"},
    {"level": "city", "place": "Seattle", "tax": "Sales Tax", "percent": "3.85"},
]


@pytest.fixture
async def asking(actors: Actors) -> AsyncIterator[Actors]:
    """Everybody, at an API that asks Stripe Tax."""
    settings = stack_settings(actors.stack, BILLING_TAX_PROVIDER="stripe")
    async with open_database(settings) as database:
        app = create_app(settings, database, await connect(settings))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            yield replace(actors, client=client)


async def rates(customer: Customer) -> dict[str, str]:
    shown = await customer.ask("GET", "/billing/tax")
    return {one["jurisdiction"]: one["rate"] for one in shown["rates"]}


async def test_an_address_has_the_rates_that_the_provider_says(
    asking: Actors, actors: Actors
) -> None:
    await actors.sandbox.tax_rates({"US-WA": WASHINGTON})
    await collect(actors, "SG", "GST", rates={"standard": "9"})
    customer = await asking.customer_on_clock(CLOCK)
    await moved_to(customer, **SEATTLE)
    if not await rates(customer):
        # A busy machine's first answer may come too late; it is asked for again in a minute.
        await customer.advance(days=1)
    assert await rates(customer) == {"US-WA": "6.50", "US-WA Seattle": "3.85"}
    await customer.bought("small")  # 9.99
    bought = await newest_invoice(customer)
    [line] = bought["line_items"]
    assert [(one["jurisdiction"], one["amount"]) for one in line["taxes"]] == [
        ("US-WA", 65), ("US-WA Seattle", 38),
    ]  # fmt: skip
    assert (bought["tax_amount"], bought["total"]) == (103, 1102)

    # Another address: the old answer is not for it. Its own comes before the catalog's rates.
    await moved_to(customer, country="SG")
    assert await rates(customer) == {}

    # A changed rate is there a day later.
    await moved_to(customer, **SEATTLE)
    await actors.sandbox.tax_rates({"US-WA": WASHINGTON[:1]})
    await customer.advance(days=1)
    assert await rates(customer) == {"US-WA": "6.50"}
    shapes = await actors.sandbox.violations()
    assert [one for one in shapes if PATH in one["place"]] == []


@pytest.mark.parametrize("state", ["US-WA", "wa"])
async def test_a_region_is_asked_for_by_its_code_however_it_is_spelled(
    asking: Actors, actors: Actors, state: str
) -> None:
    await actors.sandbox.tax_rates({"US-WA": WASHINGTON})
    customer = await asking.customer_on_clock(CLOCK)
    await moved_to(customer, **SEATTLE | {"state": state})
    if not await rates(customer):
        await customer.advance(days=1)
    assert await rates(customer) == {"US-WA": "6.50", "US-WA Seattle": "3.85"}


async def test_while_the_provider_is_away_the_catalogs_rates_hold(
    asking: Actors, actors: Actors
) -> None:
    await collect(actors, "JP", "JCT", rates={"standard": "8"})
    await actors.sandbox.tax_rates(
        {"JP": [{"place": "Japan", "tax": "JCT", "tax_type": "jct", "percent": "10"}]}
    )
    away = await actors.sandbox.fault("error_500_unstored", path=PATH, times=None)
    customer = await asking.customer_on_clock(CLOCK)
    await moved_to(customer, country="JP")
    assert await rates(customer) == {"JP": "8.00"}
    await customer.bought("small")
    assert (await newest_invoice(customer))["tax_amount"] == 80
    await actors.sandbox.clear("faults", away)
    await customer.advance(to="2027-01-01T11:00:00Z")
    assert await rates(customer) == {"JP": "10.00"}

    # It keeps to its word while it is away.
    away = await actors.sandbox.fault("error_500_unstored", path=PATH, times=None)
    await customer.advance(days=2)
    assert await rates(customer) == {"JP": "10.00"}
    await customer.bought("small")
    assert (await newest_invoice(customer))["tax_amount"] == 100
    await actors.sandbox.clear("faults", away)


async def test_accounts_of_before_are_asked_for_by_command(actors: Actors) -> None:
    await actors.sandbox.tax_rates({"US-WA": WASHINGTON})
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer, **SEATTLE)
    assert await rates(customer) == {}
    settings = stack_settings(actors.stack, BILLING_TAX_PROVIDER="stripe")
    assert await ask_taxes(settings, account=customer.id) == 1
    assert await ask_taxes(settings, account=customer.id) == 0
    await customer.advance(days=1)
    assert await rates(customer) == {"US-WA": "6.50", "US-WA Seattle": "3.85"}
