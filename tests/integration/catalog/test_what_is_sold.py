"""A sale and its price are of one version, and of the one that the buyer saw."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.locked import held, waiting


async def pack_on_sale(actors: Actors, key: str, credits: str, cents: int, **more: int) -> None:
    """A pack at this price from now on."""
    prices = {"USD": {"amount_minor": cents}} | {
        currency: {"amount_minor": minor} for currency, minor in more.items()
    }
    body = {"name": "Pack", "credits": credits, "prices": prices}
    await actors.operate("PUT", f"/admin/credit-packages/{key}?allow_large_change=true", body)


async def plan_on_sale(actors: Actors, key: str, credits: str, cents: int) -> None:
    """A plan at this price from now on."""
    body = {
        "name": "Plan", "family": "sold", "monthly_credits": credits,
        "prices": {"month": {"USD": {"amount_minor": cents}}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}?allow_large_change=true", body)


async def sold_while_edited(customer: Customer, path: str, body: Json, edit: Any) -> Json:
    """The answer to a sale that waits for the account's lock while the catalog is edited."""
    async with held(customer):
        sale = asyncio.create_task(customer.ask("POST", path, body, key=str(uuid4())))
        await waiting(customer, 1)
        await edit
    return await sale


async def test_a_pack_edited_meanwhile_is_sold_as_one_version(actors: Actors) -> None:
    customer, key = await actors.customer(), f"pack-{uuid4().hex[:8]}"
    await pack_on_sale(actors, key, "1000", 6999)
    sold = await sold_while_edited(
        customer, "/billing/purchases", {"pack": key}, pack_on_sale(actors, key, "100", 999)
    )
    assert (sold["credits"], sold["amount_cents"]) == ("100.00", 999)


async def test_a_plan_edited_meanwhile_is_sold_as_one_version(actors: Actors) -> None:
    customer, key = await actors.customer(), f"plan-{uuid4().hex[:8]}"
    await plan_on_sale(actors, key, "5000", 39900)
    sold = await sold_while_edited(
        customer,
        "/billing/subscription",
        {"plan": key, "trial": False},
        plan_on_sale(actors, key, "50", 900),
    )
    assert (sold["amount_cents"], sold["plan"]["version"]) == (900, 2)


@pytest.mark.parametrize("what", ["pack", "plan"])
async def test_a_buyer_who_saw_another_price_is_not_charged(actors: Actors, what: str) -> None:
    customer, key = await actors.customer(), f"{what}-{uuid4().hex[:8]}"
    sell, path = (
        (pack_on_sale, "/billing/purchases")
        if what == "pack"
        else (plan_on_sale, "/billing/subscription")
    )
    await sell(actors, key, "10", 500)
    seen = {what: key, "expected_amount_cents": 500}
    await sell(actors, key, "10", 700)
    refused = await customer.refused("PRICE_CHANGED", "POST", path, seen, key="k")
    assert (refused["status"], refused["amount_cents"], refused["currency"]) == (409, 700, "USD")
    assert await customer.invoices() == []
    sold = await customer.ask("POST", path, seen | {"expected_amount_cents": 700}, key="l")
    assert sold["amount_cents"] == 700


async def test_an_ariary_is_an_ariary_at_the_provider(actors: Actors) -> None:
    customer, key = await actors.customer(), f"pack-{uuid4().hex[:8]}"
    await pack_on_sale(actors, key, "100", 999, MGA=500_000, CLF=10_000)
    begun = await customer.buy(key, currency="MGA")
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert [(one["amount"], one["currency"]) for one in await customer.effects()] == [
        (5_000, "mga")
    ]
    (invoice,) = await customer.invoices()
    assert (invoice["amount_paid_minor"], invoice["status"]) == (500_000, "paid")


async def test_money_that_no_card_pays_in_is_paid_by_hand_or_not_sold(actors: Actors) -> None:
    key = f"pack-{uuid4().hex[:8]}"
    await pack_on_sale(actors, key, "100", 999, CLF=10_000)
    customer = await actors.customer()
    await customer.refused(
        "CURRENCY_NOT_CHARGED", "POST", "/billing/purchases", {"pack": key, "currency": "CLF"}
    )
    begun = await customer.buy(key, "manual", currency="CLF")
    assert begun["next_action"]["type"] == "manual"
    await actors.operate(
        "PUT",
        f"/admin/credit-packages/{key}",
        {"name": "Pack", "credits": "1", "prices": {"ZZZ": {"amount_minor": 1}}},
        status=422,
    )


async def test_an_agreed_price_ends_though_its_product_is_off_sale(actors: Actors) -> None:
    customer, key = await actors.customer(), f"tool-{uuid4().hex[:8]}"
    product = {
        "name": "Tool", "meter": "mcp_service", "service_type": "mcp_service",
        "prices": {"CREDIT": "2"},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/products/{key}", product)
    agreement = {"account_id": customer.id, "product": key}
    path = "/admin/price-overrides"
    await actors.operate("PUT", path, agreement | {"terms": {"unit_price": "1"}})
    await actors.operate("PUT", f"/admin/products/{key}", product | {"is_active": False})
    another = agreement | {"terms": {"unit_price": "3"}}
    refused = await actors.operate("PUT", path, another, status=404)
    assert refused["code"] == "PRODUCT_NOT_FOUND"
    headers = actors.headers("*", "admin")
    done = await actors.client.put(f"{API}{path}", json=agreement, headers=headers)
    assert done.status_code == 204
    (ended,) = (await actors.operate("GET", f"{path}?account_id={customer.id}"))["data"]
    assert ended["effective_to"] is not None
    unknown = agreement | {"product": "no-such-tool"}
    await actors.operate("PUT", path, unknown, status=404)
