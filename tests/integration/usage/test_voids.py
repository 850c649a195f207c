"""A wrong use taken back: counters, quotas, credits and money follow, once."""

import asyncio
from decimal import Decimal
from itertools import product as each_with_each
from typing import Any, Final, get_args
from uuid import uuid4

import pytest

from billing.catalog.rating.schemas import BillingMethod
from billing.insight.integrity import service as integrity
from billing.ledger.credits import service as credits
from billing.metering.usage import counter_rebuild
from billing.metering.usage.schemas import BillingRecord, Status
from tests.integration.actors import Actors
from tests.integration.arrears.test_offered_charges import CARD, sell
from tests.integration.usage.archived import archived
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import hold
from tests.integration.usage.test_agreed_limits import AI, agree, on_plan
from tests.integration.usage.test_held import balance_and_held

WHY: Final = {"reason": "sent twice by mistake"}


async def void(shop: Shop, record: dict[str, Any], status: int = 200) -> dict[str, Any]:
    headers = shop.api.token("*", ["service"], "meter")
    path = f"{V1}/billing/records/{record['billing_id']}/void"
    answer = await shop.api.client.post(path, json=WHY, headers=headers)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def books_agree(shop: Shop) -> None:
    report = await integrity.examine(shop.api.database, shop.id)
    assert report.ok, report.wrong


async def test_a_use_taken_back_leaves_nothing_used_and_its_credits_in_their_lot(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10")
    await shop.grant("3", paid=False)
    await shop.quota("2000", service_type="model_inference")
    kept = await shop.record("500", user_id="ann", operation="chat", model="gpt-4")
    wrong = await shop.record("1500", user_id="ann", operation="chat", model="gpt-4")
    assert (await shop.record("1", status=429))["code"] == "QUOTA_EXCEEDED"
    done = await void(shop, wrong)
    assert (done["credits_returned"], done["billing_status"]) == ("3.00", "refunded")
    assert await void(shop, wrong) == done
    assert await balance_and_held(shop) == ("12.00", "0")
    lots = await shop.get("/billing/credits/lots")
    assert sorted(lot["remaining"] for lot in lots["data"]) == ["10.00", "2.00"]
    overview = await shop.get("/billing/credits/balance")
    assert overview["credits_used_this_month"] == "1.00"
    used = await shop.get("/usage/current")
    assert used["current_period"]["model_inference"] == "500.00"
    summary = await shop.get("/usage/summary")
    assert (summary["total_credits"], summary["by_operation"][0]["quantity"]) == ("1.00", "500.00")
    limits = await shop.limits()
    assert [one["used"] for one in limits if one["source"] == "quota"] == ["500.00"]
    logs = await shop.get("/usage/logs")
    *newest, first = [(one["total_amount"], one["billing_status"]) for one in logs["data"]]
    # Both are of the same instant, and their ids say nothing of their order.
    assert sorted(newest) == [("-3.00", "refunded"), ("3.00", "refunded")]
    assert first == ("1.00", "completed")
    correction = await shop.get(f"/billing/records/{done['correction_id']}")
    assert (correction["voids"], correction["usage_amount"]) == (wrong["billing_id"], "-1500.00")
    entry = await shop.get(f"/billing/credits/transactions/{done['transaction_id']}")
    assert (entry["kind"], entry["amount"], entry["subject"]) == (
        "void",
        "3.00",
        wrong["billing_id"],
    )
    await shop.record("1500")
    assert (await void(shop, correction, 409))["code"] == "BILLING_RECORD_STATE"
    assert (await void(shop, {"billing_id": "bill_none"}, 404))[
        "code"
    ] == "BILLING_RECORD_NOT_FOUND"
    assert (await shop.get(f"/billing/records/{kept['billing_id']}"))[
        "billing_status"
    ] == "completed"
    await books_agree(shop)


async def test_only_operators_and_services_take_a_use_back(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    wrong = await shop.record()
    for role in ("member", "billing"):
        answer = await shop.post(f"/billing/records/{wrong['billing_id']}/void", WHY, role)
        assert answer.status_code == 403
    path = f"{V1}/billing/records/{wrong['billing_id']}/void"
    for body in ({}, {"reason": ""}):
        answer = await shop.api.client.post(path, json=body, headers=shop.api.admin())
        assert answer.status_code == 422
    done = await shop.api.client.post(path, json=WHY, headers=shop.api.admin())
    assert done.json()["credits_returned"] == "2.00"
    await books_agree(shop)


async def test_uses_paid_by_one_entry_come_back_one_by_one(new_shop: NewShop) -> None:
    shop = await new_shop()
    for amount in ("1.5", "2.25", "20"):
        await shop.grant(amount)
    rows = [
        {"product_id": "gpt-4", "usage_amount": amount, "event_id": str(uuid4())}
        for amount in ("500", "700", "300", "900")
    ]
    await shop.batch(*rows)
    records = (await shop.get("/billing/records"))["data"]
    assert len({one["transaction_id"] for one in records}) == 1
    for record in records[:3]:
        await void(shop, record)
        await books_agree(shop)
    left = records[3]["total_amount"]
    assert (await shop.get("/billing/credits/balance"))["credits_used_this_month"] == left
    await void(shop, records[3])
    lots = (await shop.get("/billing/credits/lots"))["data"]
    assert all(lot["remaining"] == lot["amount"] for lot in lots)
    await books_agree(shop)


async def test_beside_a_month_that_is_away_each_lot_gets_its_own_back(new_shop: NewShop) -> None:
    shop = await new_shop()
    for amount in ("1.5", "2.25"):
        await shop.grant(amount)
    await shop.batch(
        *({"product_id": "gpt-4", "usage_amount": n, "event_id": str(uuid4())} for n in (500, 700))
    )
    first, second = (await shop.get("/billing/records"))["data"]
    assert first["transaction_id"] == second["transaction_id"]
    await void(shop, first)
    async with archived(shop.api.stack, first):
        await void(shop, second)
    lots = (await shop.get("/billing/credits/lots"))["data"]
    assert all(lot["remaining"] == lot["amount"] for lot in lots)
    await books_agree(shop)


async def test_a_use_that_a_hold_paid_and_one_put_off_are_taken_back(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held = await shop.record(hold_id=await hold(shop))
    assert (await void(shop, held))["credits_returned"] == "2.00"
    assert await balance_and_held(shop) == ("10.00", "0")
    late = await shop.record("30000", on_insufficient="defer")
    assert late["billing_status"] == "pending"
    assert (await void(shop, late))["credits_returned"] == "0"
    paid = await shop.post("/billing/process", {"billing_id": late["billing_id"]})
    assert paid.json()["billing_status"] == "refunded"
    assert await balance_and_held(shop) == ("10.00", "0")
    free = await shop.record("3", feature_type="impressions")
    await void(shop, free)
    assert (await shop.get("/usage/current"))["current_period"]["impressions"] == "0"
    await books_agree(shop)


async def test_credits_of_a_lot_that_is_over_do_not_stay(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at="2027-01-01T10:00:00Z")
    answer = await shop.api.client.post(
        f"{V1}/admin/credits/adjust",
        json={"account_id": shop.account["id"], "amount": "5", "reason": "gift",
              "expires_at": "2027-01-02T00:00:00Z"},
        headers=shop.api.admin() | {"Idempotency-Key": str(uuid4())},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    wrong = await shop.record()
    async with shop.api.database.operator() as connection:
        await connection.exec_driver_sql(
            f"UPDATE accounts SET clock_at = clock_at + interval '2 days' WHERE id = '{shop.id}'"
        )
    assert (await void(shop, wrong))["credits_returned"] == "2.00"
    assert await balance_and_held(shop) == ("0", "0")
    await books_agree(shop)


async def test_what_a_card_paid_at_once_goes_to_the_money_balance(actors: Actors) -> None:
    customer, product = await actors.customer(), await sell(actors, USD="2")
    await customer.save_card()
    use = {"product_id": product, "usage_amount": "3", "billing_method": CARD, "event_id": "e-1"}
    paid = await customer.ask("POST", "/usage/record", use)
    path = f"/billing/records/{paid['billing_id']}/void"
    for _ in range(2):
        done = await actors.operate("POST", path, WHY)
        assert (done["balance_cents"], done["credits_returned"]) == (600, "0")
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 600
    again = await customer.ask("POST", "/billing/process", {"billing_id": paid["billing_id"]})
    assert again["billing_status"] == "refunded"


async def test_credits_of_a_grant_that_was_taken_back_do_not_stay(new_shop: NewShop) -> None:
    shop = await new_shop()
    async with shop.api.database.tenant(shop.id) as connection:
        facts: dict[str, Any] = {"account_id": shop.id, "key": "pack", "reason": "test"}
        await credits.grant(connection, amount=Decimal(5), kind="purchase", is_paid=True, **facts)
    wrong = await shop.record()
    async with shop.api.database.tenant(shop.id) as connection:
        back = await credits.clawback(
            connection, account_id=shop.id, grant_key="pack", amount=Decimal(5), key="back",
            reason="refund",
        )  # fmt: skip
    assert (back.taken, back.loss) == (Decimal(3), Decimal(2))
    await void(shop, wrong)
    assert await balance_and_held(shop) == ("0", "0")
    await books_agree(shop)


async def test_a_use_that_was_owed_pays_the_debt_back(new_shop: NewShop) -> None:
    shop = await new_shop("1")
    answer = await shop.api.client.put(
        f"{V1}/admin/accounts/{shop.account['id']}/overdraft",
        json={"overdraft": "5", "reason": "trusted"}, headers=shop.api.admin(),
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    late = await shop.record("1500", on_insufficient="defer")
    forced = {"billing_id": late["billing_id"], "force_charge": True}
    headers = shop.api.token("*", ["service"]) | {"X-Account-Id": shop.account["id"]}
    paid = await shop.api.client.post(f"{V1}/billing/process", json=forced, headers=headers)
    assert paid.json()["billing_status"] == "completed", paid.text
    assert (await shop.get("/billing/credits/balance"))["debt"] == "2.00"
    await void(shop, late)
    after = await shop.get("/billing/credits/balance")
    assert (after["debt"], after["credits"]) == ("0", "1.00")
    await books_agree(shop)


async def test_free_units_rolling_quotas_and_levels(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await shop.quota("1500", service_type="model_inference", window="rolling", span_seconds=3600)
    wrong = await shop.record("900", product_id="gpt-4-mini")
    await shop.record("700", product_id="gpt-4-mini", status=429)
    await void(shop, wrong)
    again = await shop.record("900", product_id="gpt-4-mini")
    assert (again["total_cost"], again["is_free_tier"]) == (wrong["total_cost"], True)
    await books_agree(shop)
    assert await counter_rebuild.compare(shop.api.database, shop.id) == []
    level = await shop.record("1", feature_type="storage_gb")
    assert (await void(shop, level, 409))["code"] == "BILLING_RECORD_STATE"


async def test_a_use_that_took_no_free_units_gives_none_back(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    free = {"unit_price": "1", "free_units": "10"}
    product = await shop.sell(f"freed-{uuid4().hex[:12]}", {"CREDIT": {"unit_price": "1"}})
    before = await shop.record("10", product_id=product)
    assert before["total_cost"] == "10.00"
    await shop.sell(product, {"CREDIT": free})
    assert (await shop.record("4", product_id=product))["is_free_tier"]
    taken = await shop.record("6", product_id=product)
    assert taken["is_free_tier"]
    await void(shop, before)
    assert (await shop.record("1", product_id=product))["total_cost"] == "1.00"
    await void(shop, taken)
    assert (await shop.record("6", product_id=product))["total_cost"] == "1.00"
    await books_agree(shop)


@pytest.mark.parametrize("method", ["credit_consumption", "wallet_deduction"])
async def test_what_credits_paid_takes_nothing_of_a_limit_that_comes_or_grows(
    new_shop: NewShop, method: str
) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.grant("10")

    async def left() -> list[str]:
        return [row["remaining"] for row in await shop.limits() if row["meter"] == meter]

    meter = "model_inference"
    way: dict[str, Any] = {"product_id": "gpt-4", "billing_method": method}
    assert (await shop.record("500", **way))["total_cost"] == "1.00"
    await agree(shop, meter, included="500", then="block")
    assert await left() == ["500.00"]
    wrong = await shop.record("400", **way)
    mixed = await shop.record("400", **way)
    assert (wrong["total_cost"], mixed["total_cost"]) == ("0", "0.60")
    await agree(shop, meter, included="800", then="block")
    assert await left() == ["300.00"]
    assert (await shop.record("300", **way))["total_cost"] == "0"
    assert (await shop.record("100", **way))["total_cost"] == "0.20"
    for use, back in ((wrong, "400.00"), (mixed, "500.00")):
        await void(shop, use)
        assert await left() == [back]
    assert (await shop.record("501", **way))["total_cost"] == "0.002"
    assert await counter_rebuild.compare(shop.api.database, shop.id) == []


async def test_many_at_once_take_a_use_back_once(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    wrong = await shop.record()
    answers = await asyncio.gather(*(void(shop, wrong) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert await balance_and_held(shop) == ("10.00", "0")
    await books_agree(shop)


async def test_what_is_owed_or_being_charged_is_so_in_sql_as_in_python(actors: Actors) -> None:
    every = each_with_each(get_args(Status), ("CREDIT", "USD"), get_args(BillingMethod))
    for status, currency, method in every:
        facts: dict[str, Any] = {
            "billing_status": status, "currency": currency, "billing_method": method
        }  # fmt: skip
        record = BillingRecord.model_construct(**facts)
        (row,) = await actors.sql(
            "SELECT usage_is_owed(%(status)s, %(currency)s, %(method)s) AS owed,"
            " usage_is_charging(%(status)s, %(method)s) AS charging",
            status=status, currency=currency, method=method,
        )  # fmt: skip
        assert row == {"owed": record.is_owed, "charging": record.is_charging}, (status, method)


@pytest.mark.parametrize(
    ("more", "used", "beyond", "cost", "left"),
    [
        ({"fixed_price": "0.30"}, "400", "1000", "20.30", "12.30"),
        ({"maximum": "50"}, "400", "10000", "50.00", "50.00"),
        ({"minimum": "1"}, "4", "10", "1.00", "1.00"),
    ],
)
async def test_a_use_by_percentage_that_is_included_in_part_keeps_its_terms(
    new_shop: NewShop, more: dict[str, str], used: str, beyond: str, cost: str, left: str
) -> None:
    shop = await on_plan(new_shop, "basic")
    price = {"model": "percentage", "percentage": {"percent": "2"} | more}
    await agree(shop, included=used, then="overage", prices={"USD": price})
    wrong = await shop.record(used, **AI)
    assert (await shop.record(beyond, **AI))["total_cost"] == cost
    await void(shop, wrong)
    assert (await shop.get("/usage/current"))["overages"]["total_overage_cost"] == left
    assert await counter_rebuild.compare(shop.api.database, shop.id) == []


async def test_uses_of_one_instant_are_priced_anew_in_the_order_they_came(
    new_shop: NewShop,
) -> None:
    """Event ids are in no order, and a price by volume comes to another sum in another order."""
    tiers = [
        {"up_to": "150", "unit_price": "0.033"},
        {"up_to": "600", "unit_price": "0.021"},
        {"unit_price": "0.0121"},
    ]
    rows = [AI | {"usage_amount": str(one)} for one in (777, 100, 49, 2, 460, 10)]

    async def cost(*more: dict[str, Any]) -> str:
        shop = await on_plan(new_shop, "basic")
        price = {"USD": {"model": "volume", "tiers": tiers}}
        await agree(shop, included="777", then="overage", prices=price)
        events = [row | {"event_id": uuid4().hex} for row in (*rows, *more)]
        for chunk in (events[:4], events[4:]):
            await shop.batch(*chunk)
        wrong_ones = await shop.rows(
            "SELECT public_id('bill', id) FROM billing_records WHERE account_id = :id"
            " AND usage_amount IN (300, 5)"
        )
        assert len(wrong_ones) == len(more)
        for (billing_id,) in wrong_ones:
            await void(shop, {"billing_id": billing_id})
        return str((await shop.get("/usage/current"))["overages"]["total_overage_cost"])

    untouched = await cost()
    for _ in range(4):
        wrong = AI | {"usage_amount": "300"}
        assert await cost(wrong, wrong | {"usage_amount": "5"}) == untouched
