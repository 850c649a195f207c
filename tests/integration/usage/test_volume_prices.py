"""Prices by volume paid with credits: uses together cost the greatest total they came to."""

import asyncio
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.usage.conftest import NewShop, Shop

# Up to 100 units cost 1 each; with the 101st all of them cost 0.5.
FALLING: Final = [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.5"}]


async def sell(shop: Shop, tiers: list[dict[str, str]], product: str | None = None) -> str:
    """A product with this price by volume; a known one gets it from now on."""
    prices = {"CREDIT": {"model": "volume", "tiers": tiers}}
    return await shop.sell(product or f"volume-{uuid4().hex[:12]}", prices)


async def quoted(shop: Shop, product: str, amount: str) -> str:
    answer = await shop.post("/billing/calculate", {"product_id": product, "usage_amount": amount})
    return str(answer.json()["total_cost"])


def rows(product: str, *amounts: int) -> list[dict[str, Any]]:
    return [{"product_id": product, "usage_amount": str(amount)} for amount in amounts]


async def spent(shop: Shop, of: int = 1000) -> Decimal:
    return of - await shop.balance()


async def test_a_quote_says_what_the_record_charges_beyond_what_was_paid(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1000")
    product = await sell(shop, FALLING)
    told = []
    for amount in ("80", "20", "50", "50", "1", "99"):
        quote = await quoted(shop, product, amount)
        done = await shop.record(amount, product_id=product)
        assert done["total_cost"] == quote
        told.append(quote)
    # 80, 100; then 150 units come to 75 and 200 to 100, which is paid; then each unit costs 0.5.
    assert told == ["80.00", "20.00", "0", "0", "0.50", "49.50"]
    assert await spent(shop) == 150


@pytest.mark.parametrize("size", [1, 7, 150])
async def test_uses_cost_the_same_one_by_one_and_in_batches(new_shop: NewShop, size: int) -> None:
    shop = await new_shop("1000")
    product = await sell(shop, FALLING)
    for start in range(0, 150, size):
        done = await shop.batch(*rows(product, *[1] * min(size, 150 - start)))
        assert done["rejected"] == 0
    assert await spent(shop) == 100, "nothing is given back, and nothing is charged on top"
    await shop.batch(*rows(product, 49, 1, 1, 99))
    assert await spent(shop) == 150


async def test_a_batch_of_many_sizes_costs_its_greatest_total(new_shop: NewShop) -> None:
    shop = await new_shop("1000")
    product = await sell(shop, FALLING)
    await shop.batch(*rows(product, 99, 52, 30, 19, 20))
    costs = await shop.rows(
        "SELECT trim_scale(total_amount) FROM billing_records WHERE account_id = :id"
        " ORDER BY array_position(ARRAY[99, 52, 30, 19, 20]::numeric[], usage_amount)"
    )
    assert [int(cost) for (cost,) in costs] == [99, 0, 0, 1, 10]


async def test_uses_at_once_cost_the_same_in_any_order(new_shop: NewShop) -> None:
    shop = await new_shop("1000")
    product = await sell(shop, FALLING)
    await asyncio.gather(*(shop.record("10", product_id=product) for _ in range(24)))
    assert await spent(shop) == 120


async def test_a_changed_price_charges_its_own_units_only(new_shop: NewShop) -> None:
    shop = await new_shop("1000")
    product = await sell(shop, [{"unit_price": "1"}])
    await shop.record("100", product_id=product)
    await sell(shop, [{"unit_price": "3"}], product)
    assert (await shop.record("1", product_id=product))["total_cost"] == "3.00"
    await sell(shop, [{"unit_price": "0.5"}], product)
    assert (await shop.record("2", product_id=product))["total_cost"] == "1.00"
    done = await shop.batch(*rows(product, 2, 2))
    assert done["recorded"] == 2
    assert await spent(shop) == 106
