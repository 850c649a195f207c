"""Prices by tier, volume and package of products, in credits and in money, by golden cases."""

from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.unit.golden.cases import cases

_TERMS: Final = ("model", "unit_price", "package_size", "free_units", "tiers")
GRADUATED: Final = {
    "model": "graduated",
    "tiers": [{"up_to": "100", "unit_price": "0.01"}, {"unit_price": "0.005"}],
}


async def sell(shop: Shop, currency: str, terms: dict[str, Any]) -> str:
    """A new product at this price."""
    return await shop.sell(f"tiered-{uuid4().hex[:12]}", {currency: terms})


async def quoted(shop: Shop, product: str, units: str) -> tuple[Decimal, str]:
    body = {"product_id": product, "usage_amount": units}
    answer = await shop.post("/billing/calculate", body)
    assert answer.status_code == 200, answer.text
    return Decimal(answer.json()["total_cost"]), answer.json()["currency"]


@pytest.mark.parametrize("currency", ["CREDIT", "USD"])
@pytest.mark.parametrize(("given", "expected"), cases("tiers", "rate"))
async def test_a_quote_is_what_others_charge(
    new_shop: NewShop, given: Any, expected: Any, currency: str
) -> None:
    shop = await new_shop()
    terms = {name: given[name] for name in _TERMS if name in given}
    product = await sell(shop, currency, terms)
    before, units = Decimal(given["before"]), Decimal(given["units"])
    costs = []
    for total in (before, before + units):
        cost, shown = await quoted(shop, product, f"{total:f}") if total else (Decimal(0), currency)
        assert shown == currency
        costs.append(cost)
    amount = Decimal(expected["amount"])
    step = Decimal("0.000001") if currency == "CREDIT" else Decimal("0.000000000001")
    assert abs(costs[1] - costs[0] - amount) <= step


async def test_a_price_in_credits_goes_on_from_use_to_use(new_shop: NewShop) -> None:
    shop = await new_shop("1000")
    product = await sell(shop, "CREDIT", GRADUATED)
    told = [(await shop.record("80", product_id=product))["total_cost"] for _ in range(2)]
    assert told == ["0.80", "0.50"]
    assert await quoted(shop, product, "10") == (Decimal("0.05"), "CREDIT")


async def test_a_percentage_in_credits_has_free_uses_until_they_are_used_up(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1000")
    by = {"percent": "2.5", "fixed_price": "0.5", "free_transactions": 2}
    product = await sell(shop, "CREDIT", {"model": "percentage", "percentage": by})
    first = await shop.record("100", product_id=product)
    assert await quoted(shop, product, "100") == (Decimal(0), "CREDIT")
    rows = await shop.batch(*({"product_id": product, "usage_amount": "100"} for _ in range(2)))
    assert rows["recorded"] == 2
    assert await shop.balance() == Decimal("997"), "the third costs 0.5 + 2.5 % of 100"
    assert await quoted(shop, product, "200") == (Decimal("5.5"), "CREDIT")
    path = f"{V1}/billing/records/{first['billing_id']}/void"
    await shop.api.client.post(path, json={"reason": "wrong"}, headers=shop.api.admin())
    assert await quoted(shop, product, "200") == (Decimal("5.5"), "CREDIT")
    assert (await shop.record("200", product_id=product))["total_cost"] == "5.50"
