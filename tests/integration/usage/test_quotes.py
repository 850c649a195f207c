"""A quote: the cost of a use, and the suggested way of paying, the preferred one where it pays."""

from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest

from billing.core import ids
from tests.integration.api.route_samples import card
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import hold

SUGGESTED: Final = "suggested_billing_method"
GPT = {"product_id": "gpt-4", "usage_amount": "1000"}


async def quote(shop: Shop, status: int = 200, **fields: Any) -> Any:
    answer = await shop.post("/billing/calculate", GPT | fields)
    assert answer.status_code == status, answer.text
    return answer.json()


async def prefer(shop: Shop, method: str | None) -> httpx2.Response:
    body = {"external_id": shop.account["external_id"], "preferred_billing_method": method}
    path, client = f"{V1}/admin/accounts", shop.api.client
    return await client.post(path, json=body, headers=shop.api.admin())


async def subscription(shop: Shop) -> str:
    """The id of a subscription that runs from now on."""
    await shop.subscribe("basic")
    ((found,),) = await shop.rows("SELECT id FROM subscriptions WHERE account_id = :id")
    return ids.encode(ids.SUBSCRIPTION, found)


@pytest.mark.parametrize(
    ("preferred", "bought", "free", "suggested"),
    [
        (None, "5", "5", "wallet_deduction"),
        ("credit_consumption", "5", "5", "credit_consumption"),
        ("payment_charge", "5", "5", "payment_charge"),
        ("wallet_deduction", "1", "5", "credit_consumption"),
        ("wallet_deduction", "1", "0.5", "payment_charge"),
    ],
)
async def test_the_preferred_way_is_suggested_where_it_would_pay(
    new_shop: NewShop, preferred: str | None, bought: str, free: str, suggested: str
) -> None:
    shop = await new_shop(bought, preferred_billing_method=preferred)
    await shop.grant(free, paid=False)
    await card(shop.api, shop.account, is_default=True)
    assert (await quote(shop))["suggested_billing_method"] == suggested


async def test_credits_that_are_held_or_of_another_meter_pay_nothing(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await card(shop.api, shop.account, is_default=True)
    await hold(shop, "9")
    assert (await quote(shop))["suggested_billing_method"] == "payment_charge"
    await shop.record("1000", status=402, billing_method="wallet_deduction")
    await shop.grant("60", paid=False)
    shown = await quote(shop)
    assert (shown["suggested_billing_method"], shown["available_billing_methods"]) == (
        "credit_consumption", ["wallet_deduction", "credit_consumption", "payment_charge"],
    )  # fmt: skip
    await shop.record("1000", billing_method="credit_consumption")
    other = await new_shop()
    await other.grant("60", paid=False, scope="chat_messages")
    assert (await quote(other))["available_billing_methods"] == ["wallet_deduction"]
    await other.grant("60", paid=False, scope="model_inference")
    assert "credit_consumption" in (await quote(other))["available_billing_methods"]


async def test_a_preference_is_changed_taken_back_and_never_offered_without_a_card(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("5")
    assert (await prefer(shop, "payment_charge")).json()["preferred_billing_method"] == (
        "payment_charge"
    )
    told = await quote(shop)
    assert told["suggested_billing_method"] == "wallet_deduction"
    assert told["available_billing_methods"] == ["wallet_deduction"]
    await card(shop.api, shop.account, is_default=True)
    assert (await quote(shop))["suggested_billing_method"] == "payment_charge"
    assert (await prefer(shop, None)).json()["preferred_billing_method"] is None
    assert (await quote(shop))["suggested_billing_method"] == "wallet_deduction"
    assert (await prefer(shop, "subscription_included")).status_code == 422


async def test_a_quote_is_made_under_the_accounts_own_subscription_alone(
    new_shop: NewShop,
) -> None:
    shop, other = await new_shop("5"), await new_shop()
    own, foreign = await subscription(shop), await subscription(other)
    plain = await quote(shop)
    assert await quote(shop, pricing_context={"subscription_id": own}) == plain
    assert await quote(shop, pricing_context={}) == plain
    for wrong in (foreign, "nonsense", f"sub_{uuid4().hex}"):
        refused = await quote(shop, 404, pricing_context={"subscription_id": wrong})
        assert refused["code"] == "SUBSCRIPTION_NOT_FOUND"
        assert [error["field"] for error in refused["errors"]] == [
            "pricing_context.subscription_id"
        ]


async def test_a_quote_shows_the_unit_price_that_the_record_shows(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    five_free = {"CREDIT": {"unit_price": "0.5", "free_units": "5"}}
    key = await shop.sell(f"p{uuid4().hex[:8]}", five_free, "api_calls", "api_gateway")
    for amount, unit_price in (("2", "0"), ("10", "0.35"), ("1", "0.50")):
        told = await quote(shop, product_id=key, usage_amount=amount)
        done = await shop.post("/usage/record", {"product_id": key, "usage_amount": amount})
        assert told["unit_price"] == done.json()["unit_price"] == unit_price


async def test_nothing_is_suggested_where_nothing_could_pay(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    by_card = {"USD": {"unit_price": "0.5"}}
    key = await shop.sell(f"p{uuid4().hex[:8]}", by_card, "api_calls", "api_gateway")
    told = await quote(shop, product_id=key)
    assert (told["suggested_billing_method"], told["available_billing_methods"]) == (None, [])
    await card(shop.api, shop.account, is_default=True)
    told = await quote(shop, product_id=key)
    assert told["suggested_billing_method"] == "payment_charge"


async def limited(shop: Shop, **limit: Any) -> None:
    """Calls of the API are limited so under its plan."""
    path = f"{V1}/admin/accounts/{shop.account['id']}/limits/api_calls"
    put = await shop.api.client.put(path, json=limit, headers=shop.api.admin())
    assert put.status_code == 200, put.text


@pytest.mark.parametrize(
    ("price", "unit_price"),
    [
        ({"model": "package", "unit_price": "0.1", "package_size": "100"}, "0.001"),
        ({"model": "package", "unit_price": "1", "package_size": "3"}, "0.333333333333"),
        ({"model": "flat", "unit_price": "5"}, "0"),
        ({"model": "graduated", "tiers": [{"unit_price": "0.5"}]}, "0"),
        ({"unit_price": "0.5", "free_units": "5"}, "0.50"),
    ],
)
async def test_within_a_plan_the_unit_price_is_that_of_one_unit(
    new_shop: NewShop, price: dict[str, Any], unit_price: str
) -> None:
    shop = await new_shop()
    await shop.subscribe("starter")
    await limited(shop, included="400", then="block")
    key = await shop.sell(f"p{uuid4().hex[:8]}", {"CREDIT": price}, "api_calls", "api_gateway")
    use: dict[str, Any] = {"product_id": key, "usage_amount": "250"}
    told = await quote(shop, **use)
    done = (await shop.post("/usage/record", use)).json()
    stored = await shop.get(f"/billing/records/{done['billing_id']}")
    assert told["total_cost"] == done["total_cost"] == "0"
    assert [one["unit_price"] for one in (told, done, stored)] == [unit_price] * 3


@pytest.mark.parametrize("preferred", [None, "wallet_deduction", "credit_consumption"])
@pytest.mark.parametrize("credits", ["100", "0.01"])
async def test_beyond_a_plan_the_preferred_way_is_suggested_where_it_would_pay(
    new_shop: NewShop, preferred: str | None, credits: str
) -> None:
    shop = await new_shop(credits, preferred_billing_method=preferred)
    await shop.subscribe("starter")
    await limited(shop, included="40", then="overage", prices={"USD": "0.002"})
    call: dict[str, Any] = {"product_id": "api-call", "usage_amount": "100"}
    told = await quote(shop, **call)
    assert told["available_billing_methods"] == ["subscription_included", "wallet_deduction"]
    by_wallet = preferred == "wallet_deduction" and credits == "100"
    assert (told["suggested_billing_method"], told["total_cost"], told["currency"]) == (
        ("wallet_deduction", "0.10", "CREDIT") if by_wallet
        else ("subscription_included", "0.12", "USD")
    )  # fmt: skip
    done = await shop.record("100", product_id="api-call", billing_method=told[SUGGESTED])
    same = ("unit_price", "total_cost", "currency", "is_free_tier", "is_included_in_subscription")
    assert [told[name] for name in same] == [done[name] for name in same]


async def test_beyond_a_plan_free_credits_and_a_card_are_ways_to_pay_too(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100", preferred_billing_method="payment_charge")
    await shop.subscribe("starter")
    await limited(shop, included="40", then="overage", prices={"USD": "0.002"})
    await shop.grant("60", paid=False)
    await card(shop.api, shop.account, is_default=True)
    both = {"CREDIT": "0.5", "USD": "0.25"}
    key = await shop.sell(f"p{uuid4().hex[:8]}", both, "api_calls", "api_gateway")
    told = await quote(shop, product_id=key, usage_amount="100")
    assert told["available_billing_methods"] == [
        "subscription_included", "wallet_deduction", "credit_consumption", "payment_charge",
    ]  # fmt: skip
    assert (told[SUGGESTED], told["total_cost"], told["currency"]) == (
        "payment_charge", "15.00", "USD",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "cost", "currency"),
    [
        ({"included": "40", "then": "overage", "prices": {"USD": "0.002"}}, "0.12", "USD"),
        ({"included": "40", "then": "notify"}, "0", "CREDIT"),
        ({"included": "100", "then": "block"}, "0", "CREDIT"),
    ],
)
async def test_a_quote_says_what_the_plan_charges_for_the_same_use(
    new_shop: NewShop, limit: dict[str, Any], cost: str, currency: str
) -> None:
    shop = await new_shop("100")
    await shop.subscribe("starter")
    await limited(shop, **limit)
    call: dict[str, Any] = {"product_id": "api-call", "usage_amount": "100"}
    told = await quote(shop, **call)
    assert (told["total_cost"], told["currency"]) == (cost, currency)
    ways = ["subscription_included"] + (["wallet_deduction"] if limit["then"] == "overage" else [])
    assert told["available_billing_methods"] == ways
    done = (await shop.post("/usage/record", call)).json()
    same = ("unit_price", "total_cost", "currency", "is_free_tier", "is_included_in_subscription")
    assert [told[name] for name in same] == [done[name] for name in same]
    assert told["suggested_billing_method"] == done["billing_method"]


async def test_beyond_a_plan_that_blocks_a_quote_is_in_credits(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await limited(shop, included="40", then="block")
    call: dict[str, Any] = {"product_id": "api-call", "usage_amount": "100"}
    told = await quote(shop, **call)
    method = told["suggested_billing_method"]
    assert (method, told["total_cost"], told["currency"]) == ("wallet_deduction", "0.10", "CREDIT")
    assert (await shop.post("/usage/record", call)).status_code == 429, (
        "the plan's, if none is named"
    )
    done = await shop.record("100", product_id="api-call", billing_method=method)
    assert (done["total_cost"], done["currency"]) == ("0.10", "CREDIT")


@pytest.mark.parametrize("slash", ["/", "%2F"])
async def test_a_product_with_a_slash_in_its_key_is_changed_by_operators(
    new_shop: NewShop, slash: str
) -> None:
    shop = await new_shop("100")
    vendor = f"v{uuid4().hex[:8]}"
    key = f"{vendor}{slash}llama-3"
    await shop.sell(key, {"CREDIT": "0.5"}, "model_inference", "model_inference")
    told = await quote(shop, product_id=f"{vendor}/llama-3", usage_amount="2")
    assert told["total_cost"] == "1.00"
