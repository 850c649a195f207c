"""Prices agreed with an account, before those of the product service."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.pricing.conftest import FRESH_SECONDS, TERMS, Priced, age, cost, named
from tests.integration.usage.conftest import Shop


async def agree(priced: Priced, shop: Shop, product: str, price: str | None = None) -> None:
    """Agree the shop's price of a product, or end the agreement."""
    body: dict[str, Any] = {"account_id": shop.account["id"], "product": product}
    if price is not None:
        body["terms"] = {"unit_price": price}
    path, caller = "/api/v1/admin/price-overrides", priced.api.admin()
    answer = await priced.api.client.put(path, headers=caller, json=body)
    assert answer.status_code == (204 if price is None else 200), answer.text


async def test_a_price_agreed_here_goes_before_the_services_own(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    body = {"account_id": shop.account["id"], "product": product, "terms": {"unit_price": "0.005"}}
    path, client = "/api/v1/admin/price-overrides", priced.api.client
    agreed = await client.put(path, headers=priced.api.admin(), json=body)
    assert agreed.json()["source"] == "agreed"
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "0.50"
    body.pop("terms")
    assert (await client.put(path, headers=priced.api.admin(), json=body)).status_code == 204
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "1.00"


async def test_the_end_of_an_agreement_gives_the_services_price_back_at_once(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    await agree(priced, shop, product)
    assert await cost(shop, product) == "1.00", "nothing was agreed"
    for price in ("0.005", "0.004"):
        await agree(priced, shop, product, price)
    assert await cost(shop, product) == "0.40"
    await agree(priced, shop, product)
    assert await cost(shop, product) == "1.00"
    priced.service.answers[product] = 500
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "1.00", "the last price serves for a day"


async def test_what_changes_no_agreement_is_neither_a_new_version_nor_audited(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    for price in (None, "0.01", "0.010", None, None):
        await agree(priced, shop, product, price)
    audited = "SELECT action FROM billing_audit WHERE account_id = :id AND action LIKE 'price.%'"
    assert await shop.rows(f"{audited} ORDER BY id") == [
        ("price.agreed",), ("price.agreement_ended",),
    ]  # fmt: skip
    agreed = "SELECT unit_price FROM price_overrides WHERE account_id = :id AND source = 'agreed'"
    assert len(await shop.rows(agreed)) == 1


async def test_what_the_service_first_names_during_an_agreement_applies_at_its_end(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(await priced.shop(), product) == "1.00", "others buy it already"
    await agree(priced, shop, product, "0.005")
    during = datetime.now(UTC)
    assert await cost(shop, product) == "0.50"
    await agree(priced, shop, product)
    assert await cost(shop, product) == "1.00"
    for at, total in ((during - timedelta(days=3), "1.00"), (during, "0.50")):
        late = await shop.record("100", product_id=product, occurred_at=at.isoformat())
        assert late["total_cost"] == total, "as of its own time"


async def test_the_last_of_the_prices_named_during_agreements_applies_at_their_end(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    await agree(priced, shop, product, "0.005")
    await age(shop, product, timedelta(days=2))
    priced.service.answers[product] = TERMS | {"unit_price": "0.02"}
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "0.50"
    await agree(priced, shop, product, "0.004")
    priced.service.answers[product] = 500
    await agree(priced, shop, product)
    assert await cost(shop, product) == "2.00"
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "2.00", "named within the last day"


@pytest.mark.parametrize("answer", [404, TERMS | {"currency": "USD"}])
async def test_a_price_withdrawn_during_an_agreement_does_not_begin_again(
    priced: Priced, answer: Any
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    await agree(priced, shop, product, "0.005")
    assert await cost(shop, product) == "0.50"
    priced.service.answers[product] = answer
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "0.50"
    await agree(priced, shop, product)
    refused = await shop.record("100", status=404, product_id=product)
    assert refused["code"] == "PRODUCT_PRICING_NOT_FOUND"
