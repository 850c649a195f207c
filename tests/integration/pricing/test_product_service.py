"""Prices of a product service: asked in time, kept, believed while it is away, never guessed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from billing.catalog.products import store
from billing.ledger.credits import service as credits
from tests.integration.api.route_samples import card
from tests.integration.pricing.conftest import FRESH_SECONDS, TERMS, Priced, age, cost, named
from tests.integration.usage.conftest import Shop
from tests.integration.waiting import wait_for


async def by_service(shop: Shop, *rows: dict[str, Any]) -> Any:
    """Uses of the shop, recorded by a caller of all accounts."""
    of_shop = {"account_id": shop.account["id"], "usage_amount": "1"}
    path, caller = "/api/v1/usage/batch", shop.api.token("*", ["service"])
    body = {"events": [of_shop | row for row in rows]}
    return (await shop.api.client.post(path, json=body, headers=caller)).json()


async def test_a_product_is_sold_at_the_price_the_service_names(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    quote = {"product_id": product, "usage_amount": "100"}
    quoted = (await shop.post("/billing/calculate", quote)).json()
    assert (quoted["unit_price"], quoted["total_cost"]) == ("0.01", "1.00")
    assert await cost(shop, product) == "1.00"
    done = await shop.batch(*[{"product_id": product, "usage_amount": "100"}] * 3)
    assert done["recorded"] == 3
    assert priced.service.asked == {(product, shop.account["external_id"]): 1}
    used = (await shop.get("/usage/current"))["current_period"]
    assert used["model_inference"] == "400.00"
    checked = await shop.post("/quota/check", {"product_id": product, "requested_amount": "1"})
    assert checked.json()["allowed"]


async def test_tiers_and_several_currencies_are_understood(priced: Priced) -> None:
    tiered, paid = named(), named()
    shop = await priced.shop()
    priced.service.answers[tiered] = {
        "service_type": "agent_execution", "model": "graduated",
        "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.5"}],
    }  # fmt: skip
    priced.service.answers[paid] = TERMS | {"prices": {"CREDIT": "0.02", "USD": "0.01"}}
    done = await shop.record("12", product_id=tiered)
    assert done["total_cost"] == "11.00"
    assert await cost(shop, paid) == "2.00"


async def test_a_percentage_with_a_fixed_part_is_understood(priced: Priced) -> None:
    plain, listed = named(), named()
    shop = await priced.shop()
    terms = {"model": "percentage", "percentage": {"percent": "2.9", "fixed_price": "0.30"}}
    priced.service.answers[plain] = terms | {"service_type": "model_inference"}
    priced.service.answers[listed] = {"prices": {"CREDIT": terms}} | TERMS
    assert (await cost(shop, plain), await cost(shop, listed)) == ("3.20", "3.20")


async def test_each_account_pays_its_own_price(priced: Priced) -> None:
    product = named()
    one, other = await priced.shop(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(one, product) == "1.00"
    priced.service.answers[product] = TERMS | {"unit_price": 0.03}
    assert await cost(other, product) == "3.00"
    assert await cost(one, product) == "1.00"


async def test_a_changed_price_holds_as_soon_as_the_old_one_is_not_fresh(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    before = datetime.now(UTC)
    priced.service.answers[product] = TERMS | {"unit_price": "0.02"}
    assert await cost(shop, product) == "1.00"
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "2.00"
    late = await shop.record("100", product_id=product, occurred_at=before.isoformat())
    assert late["total_cost"] == "1.00", "as of its own time"
    long_ago = (before - timedelta(days=3)).isoformat()
    assert (await shop.record("100", product_id=product, occurred_at=long_ago))[
        "total_cost"
    ] == "1.00", "the first word holds for what was used before"


async def test_what_the_service_does_not_sell_is_not_asked_for_again_and_again(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    for _ in range(3):
        refused: Any = await shop.record("1", status=404, product_id=product)
        assert (refused["code"], refused["detail"]) == (
            "PRODUCT_PRICING_NOT_FOUND", "Product pricing not found",
        )  # fmt: skip
    assert priced.service.asked.total() == 1
    await shop.record("1", status=404, product_id="../admin")
    assert priced.service.asked.total() == 1
    rows = [
        {"product_id": product, "usage_amount": "1"},
        {"feature_type": "chat_messages", "usage_amount": "1"},
    ]
    assert [row["status"] for row in (await shop.batch(*rows))["results"]] == [
        "rejected", "recorded",
    ]  # fmt: skip
    priced.service.answers[product] = TERMS
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "1.00"
    del priced.service.answers[product]
    priced.seconds += FRESH_SECONDS
    await shop.record("1", status=404, product_id=product)


@pytest.mark.parametrize(
    "answer",
    [500, 301, b"{", b"[]", b'{"unit_price": NaN}', b'{"unit_price": "1", "unit_price": "5"}',
     {"currency": "CREDIT"},
     {"unit_price": "-1"}, {"unit_price": "a lot"}, {"unit_price": "1", "model": "lottery"},
     {"prices": {}}, {"prices": {"credits": "1"}}, {"unit_price": "0.0000000000001"}],
)  # fmt: skip
async def test_an_answer_that_is_no_price_is_an_outage_not_a_price(
    priced: Priced, answer: Any
) -> None:
    product, shop = named(), await priced.shop()
    known = named()
    priced.service.answers |= {product: answer, known: TERMS}
    refused = await shop.record("1", status=503, product_id=product)
    assert refused["code"] == "PRICING_UNAVAILABLE"
    assert await cost(shop, known) == "1.00", "others are sold meanwhile"
    row = {"product_id": product, "usage_amount": "1"}
    assert (await shop.batch(row))["results"][0]["code"] == "PRICING_UNAVAILABLE"
    assert len(await shop.rows("SELECT 1 FROM billing_records WHERE account_id = :id")) == 1


async def test_while_it_is_slow_or_away_the_last_price_serves(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    assert REGISTRY.get_sample_value("billing_product_service_answers") == 1
    priced.service.slow_seconds, priced.timeout_seconds = 1, 0.5
    priced.forget()
    assert await cost(shop, product) == "1.00", "also after a restart"
    assert REGISTRY.get_sample_value("billing_product_service_answers") == 0
    priced.seconds += FRESH_SECONDS
    assert await cost(shop, product) == "1.00"
    asked = priced.service.asked.total()
    refused = await asyncio.gather(*(shop.record(status=503, product_id=named()) for _ in range(5)))
    assert {one["code"] for one in refused} == {"PRICING_UNAVAILABLE"}
    assert priced.service.asked.total() == asked, "nobody waits for it again at once"
    await age(shop, product, timedelta(days=2))
    priced.forget()
    await shop.record("1", status=503, product_id=product)


async def test_a_currency_that_the_service_does_not_name_has_no_price(priced: Priced) -> None:
    """The catalog sells gpt-4 in credits and in money."""
    shop = await priced.shop()
    await card(shop.api, shop.account, is_default=True)
    use = {"product_id": "gpt-4", "usage_amount": "1000"}
    by_card = use | {"billing_method": "payment_charge", "event_id": "e1"}
    priced.service.answers["gpt-4"] = TERMS
    quoted = (await shop.post("/billing/calculate", use)).json()
    assert "payment_charge" not in quoted["available_billing_methods"]
    tried = await shop.post("/usage/record?dry_run=true", by_card)
    assert tried.json().get("code") == "PAYMENT_CHARGE_NOT_OFFERED"
    priced.service.answers["gpt-4"] = TERMS | {"currency": "USD"}
    priced.seconds += FRESH_SECONDS
    tried = await shop.post("/usage/record?dry_run=true", by_card)
    assert (tried.json()["total_cost"], tried.json()["currency"]) == ("10.00", "USD")
    refused = await shop.record("1000", status=404)
    assert refused["code"] == "PRODUCT_PRICING_NOT_FOUND"


async def test_a_product_that_is_off_sale_stays_so_whatever_the_service_says(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    path, client = f"/api/v1/admin/products/{product}", priced.api.client
    terms = {"name": "A model", "meter": "model_inference", "service_type": "model_inference"}
    for is_active, status in ((False, 404), (True, 201)):
        body = terms | {"is_active": is_active, "prices": {"CREDIT": "0.01"}}
        changed = await client.put(path, headers=priced.api.admin(), json=body)
        assert changed.status_code == 200, changed.text
        priced.seconds += FRESH_SECONDS
        await shop.record("1", status=status, product_id=product)


async def test_one_accounts_word_for_a_products_service_counts_for_no_other(
    priced: Priced,
) -> None:
    product, one, other = named(), await priced.shop(), await priced.shop()
    priced.service.answers[product] = {"unit_price": "0.01"}
    quote = {"product_id": product, "service_type": "notification", "usage_amount": "1"}
    asked = await one.post("/billing/calculate", quote)
    assert asked.json()["code"] == "METER_NOT_FOUND"
    use = {"product_id": product}
    rows = [use | {"service_type": "model_inference"}, use]
    assert (await by_service(other, *rows))["recorded"] == 2, "the row that names it counts"
    assert (await one.record("1", product_id=product))["meter"] == "model_inference"
    priced.service.answers[product] = TERMS | {"service_type": "agent_execution"}
    priced.seconds += FRESH_SECONDS
    assert (await one.record("1", product_id=product))["meter"] == "agent_execution"


async def test_a_use_that_is_sent_again_gets_its_first_answer_though_nobody_sells_it_now(
    priced: Priced,
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    use = {"product_id": product, "usage_amount": "100", "event_id": "e1"}
    first = await shop.post("/usage/record", use)
    for answer in (404, 500):
        priced.service.answers[product] = answer
        priced.seconds += FRESH_SECONDS
        await age(shop, product, timedelta(days=2))
        again = await shop.post("/usage/record", use)
        assert again.headers.get("idempotent-replayed") == "true", again.text
        assert again.json() == first.json()
        rows = (await shop.batch(use, use | {"event_id": "e2"}))["results"]
        assert [row["status"] for row in rows] == ["duplicate", "rejected"]


async def test_many_who_ask_at_once_ask_once(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    priced.service.slow_seconds = 0.1
    await asyncio.gather(*(cost(shop, product) for _ in range(20)))
    assert priced.service.asked.total() == 1


async def test_the_catalog_leaves_the_services_products_alone(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = {"unit_price": "0.01"}
    refused = await shop.record("1", status=404, product_id=product)
    assert refused["code"] == "METER_NOT_FOUND"
    done = await by_service(shop, {"product_id": product, "service_type": "notification"})
    assert done["recorded"] == 1
    async with priced.api.database.operator() as connection:
        listed = await store.metering(connection)
        sold = await store.find_product(connection, product)
    assert sold is not None
    assert product not in listed.products, "else the next apply would retire it"


async def test_a_product_may_have_a_slash_in_its_name(priced: Priced) -> None:
    product, shop = f"vendor/{named()}", await priced.shop()
    priced.service.answers[product] = TERMS
    assert await cost(shop, product) == "1.00"
    assert priced.service.asked == {(product, shop.account["external_id"]): 1}


async def test_steps_of_a_path_are_no_product(priced: Priced) -> None:
    shop = await priced.shop()
    for product in (".", "..", "../admin", "vendor/.."):
        answer = await shop.post("/billing/calculate", {"product_id": product, "usage_amount": 1})
        assert answer.json()["code"] == "PRODUCT_PRICING_NOT_FOUND"
    assert {product for product, _ in priced.service.asked} <= {"vendor/.."}


async def test_the_service_is_asked_about_the_user_whom_a_service_names(priced: Priced) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS
    name = shop.account["external_id"]
    body = {"user_id": name, "product_id": product, "usage_amount": 100}
    caller = priced.api.token("*", ["service"])
    answer = await priced.api.client.post("/api/v1/usage/record", json=body, headers=caller)
    assert answer.json()["total_cost"] == "1.00"
    assert priced.service.asked == {(product, name): 1}


async def test_no_account_keeps_the_others_waiting_for_their_prices(priced: Priced) -> None:
    """A batch of invented products took all slots, and its account's lock in each."""
    product, busy, other = named(), await priced.shop(), await priced.shop()
    priced.service.answers[product] = TERMS
    priced.service.slow_seconds = 0.2
    rows = [{"product_id": named(), "usage_amount": "1"} for _ in range(60)]
    batch = asyncio.create_task(busy.batch(*rows))

    async def asked() -> int:
        return priced.service.asked.total()

    await wait_for(asked, "the batch is under way")
    assert await cost(other, product) == "1.00"
    assert priced.service.asked.total() - 1 < len(rows), "the other did not wait for all of them"
    assert (await batch)["rejected"] == len(rows)


async def test_what_the_service_does_not_sell_waits_for_no_lock(priced: Priced) -> None:
    shop = await priced.shop()
    async with priced.api.database.tenant(shop.id) as connection:
        await credits.lock(connection, shop.id)
        async with asyncio.timeout(3):
            await shop.record("1", status=404, product_id=named())
