"""A use recorded: rated, paid, counted once, and refused for a reason that says what to do."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from billing.ledger.credits import service as credits
from tests.integration.api.route_samples import card
from tests.integration.usage.conftest import V1, NewShop

CALCULATE = "/billing/calculate"
WALLET = "Insufficient wallet balance"


async def test_the_reference_case_is_exact_to_the_string(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await card(shop.api, shop.account, is_default=True)
    answer = await shop.post(
        CALCULATE,
        {
            "user_id": "user-1", "product_id": "gpt-4", "service_type": "model_inference",
            "usage_amount": "1000",
        },
    )  # fmt: skip
    assert answer.json() == {
        "success": True,
        "product_id": "gpt-4",
        "usage_amount": "1000",
        "unit_price": "0.002",
        "total_cost": "2.00",
        "currency": "CREDIT",
        "is_free_tier": False,
        "is_included_in_subscription": False,
        "suggested_billing_method": "wallet_deduction",
        "available_billing_methods": ["wallet_deduction", "payment_charge"],
    }
    assert await shop.rows("SELECT 1 FROM billing_records WHERE account_id = :id") == []


async def test_a_use_is_paid_and_answers_its_record(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    done = await shop.record(
        user_id="user-1", organization_id="org-1", session_id="s-1", request_id="r-1",
        service_type="model_inference", product_id="gpt-4", billing_method="wallet_deduction",
        usage_details={"tokens": 1000, "model": 'gpt "4" \\ 中'},
    )  # fmt: skip
    assert (done["billing_status"], done["total_cost"]) == ("completed", "2.00")
    assert done["currency"] == "CREDIT"
    assert await shop.balance() == 8
    record = await shop.get(f"/billing/records/{done['billing_id']}")
    assert record["usage_details"] == {"tokens": 1000, "model": 'gpt "4" \\ 中'}
    entry = await shop.get(f"/billing/credits/transactions/{record['transaction_id']}")
    assert entry["amount"] == "-2.00"


async def test_an_event_is_counted_once_and_another_body_is_told_apart(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10")
    event = f"evt-{uuid4()}"
    first = await shop.record(event_id=event)
    again = await shop.post(
        "/usage/record", {"usage_amount": "1000", "product_id": "gpt-4", "event_id": event}
    )
    assert (again.status_code, again.json()) == (201, first)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await shop.record("999", status=422, event_id=event)
    assert other["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await shop.balance() == 8
    body = {"usage_amount": "1000", "product_id": "gpt-4"}
    keyed = [
        await shop.post("/usage/record", body, **{"Idempotency-Key": f"key-{event}"})
        for _ in range(2)
    ]
    assert keyed[0].json() == keyed[1].json()
    await shop.record()
    await shop.record()
    assert await shop.balance() == 2


async def test_an_event_sent_by_fifty_at_once_is_paid_once(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    event = f"evt-{uuid4()}"
    done = await asyncio.gather(*(shop.record(event_id=event) for _ in range(50)))
    assert len({one["billing_id"] for one in done}) == 1
    assert await shop.balance() == 8


async def test_without_credits_nothing_is_recorded_and_the_shortage_is_named(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1")
    refused = await shop.record(status=402)
    assert (refused["code"], refused["detail"]) == (
        "INSUFFICIENT_CREDITS", "2.00 credits are needed, 1.00 are available",
    )  # fmt: skip
    assert (refused["required"], refused["available"]) == ("2.00", "1.00")
    assert await shop.rows("SELECT 1 FROM billing_records WHERE account_id = :id") == []
    assert await shop.rows("SELECT 1 FROM usage_counters WHERE account_id = :id") == []


async def test_the_wallet_holds_bought_credits_only(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.grant("5", paid=False)
    assert (await shop.record(status=402, billing_method="wallet_deduction"))["available"] == "0"
    await shop.record(billing_method="credit_consumption")
    assert await shop.balance() == 3


async def test_a_short_wallet_is_told_of_alike_in_a_use_a_dry_run_a_batch_and_a_payment(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    put_off = await shop.record(on_insufficient="defer")
    use = {"product_id": "gpt-4", "usage_amount": "1000", "billing_method": "wallet_deduction"}
    for query in ("", "?dry_run=true"):
        refused = await shop.post(f"/usage/record{query}", use)
        assert (refused.status_code, refused.json()["detail"]) == (402, WALLET)
    [row] = (await shop.batch(use))["results"]
    assert (row["code"], row["detail"]) == ("INSUFFICIENT_CREDITS", WALLET)
    body = {"billing_id": put_off["billing_id"], "billing_method": "wallet_deduction"}
    assert (await shop.post("/billing/process", body)).json()["detail"] == WALLET


async def test_a_use_that_was_put_off_is_settled_later(new_shop: NewShop) -> None:
    shop = await new_shop()
    done = await shop.record(on_insufficient="defer")
    assert done["billing_status"] == "pending"
    body = {"billing_id": done["billing_id"], "billing_method": "credit_consumption"}
    refused = await shop.post("/billing/process", body)
    assert (refused.status_code, refused.json()["detail"]) == (402, "not enough credits for this")
    assert (await shop.get("/stats"))["failed_billing_records"] == 1
    await shop.grant("5")
    for _ in range(2):
        settled = await shop.post("/billing/process", body)
        assert (settled.status_code, settled.json()["billing_status"]) == (200, "completed")
    assert await shop.balance() == 3
    stats = await shop.get("/stats")
    assert (stats["completed_billing_records"], stats["failed_billing_records"]) == (1, 0)
    assert stats["total_revenue"] == "2.00"
    changes = await shop.rows(
        "SELECT status_before, status_after FROM billing_events WHERE account_id = :id ORDER BY at"
    )
    assert changes == [("pending", "failed"), ("failed", "completed")]


async def test_a_service_may_force_a_put_off_charge_into_the_overdraft(new_shop: NewShop) -> None:
    shop = await new_shop()
    done = await shop.record(on_insufficient="defer")
    body = {"billing_id": done["billing_id"], "force_charge": True}
    assert (await shop.post("/billing/process", body)).status_code == 403

    async def force() -> httpx2.Response:
        service = shop.api.token("*", ["service"]) | {"X-Account-Id": shop.account["id"]}
        path = f"{V1}/billing/process"
        return await shop.api.client.post(path, json=body, headers=service)

    assert (await force()).status_code == 402
    allowed = {"overdraft": "5", "reason": "a good customer"}
    path = f"{V1}/admin/accounts/{shop.account['id']}/overdraft"
    answer = await shop.api.client.put(path, json=allowed, headers=shop.api.admin())
    assert answer.status_code == 200, answer.text
    settled = await force()
    assert (settled.status_code, settled.json()["billing_status"]) == (200, "completed")
    assert (await shop.get("/billing/credits/balance"))["debt"] == "2.00"
    books = await shop.api.client.get(
        f"{V1}/admin/integrity?account={shop.account['id']}", headers=shop.api.admin()
    )
    assert books.json()["ok"], [check for check in books.json()["checks"] if not check["ok"]]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"product_id": "no-such-thing"}, 404, "PRODUCT_PRICING_NOT_FOUND"),
        ({"feature_type": "no-such-thing"}, 404, "METER_NOT_FOUND"),
        ({"billing_method": "payment_charge"}, 400, "IDEMPOTENCY_KEY_REQUIRED"),
        (
            {"billing_method": "payment_charge", "event_id": "a"},
            409,
            "PAYMENT_CHARGE_NOT_OFFERED",
        ),
        ({"billing_method": "subscription_included"}, 409, "NOT_INCLUDED"),
        ({"occurred_at": "0001-01-01T00:00:00+05:00"}, 422, "VALIDATION_FAILED"),
        ({"occurred_at": "9999-12-31T23:59:59-05:00"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": "0"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": "-1"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": "NaN"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": "1e3"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": "1.0000000000001"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": "1000000000000000"}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": 1e-13}, 422, "VALIDATION_FAILED"),
        ({"usage_amount": True}, 422, "VALIDATION_FAILED"),
        ({"surprise": 1}, 422, "VALIDATION_FAILED"),
        ({"service_type": "teleportation"}, 422, "VALIDATION_FAILED"),
    ],
)
async def test_a_bad_use_is_refused_alone_and_in_a_batch_alike(
    new_shop: NewShop, fields: dict[str, Any], status: int, code: str
) -> None:
    shop = await new_shop("10")
    good = {"usage_amount": "1000", "product_id": "gpt-4"}
    bad = (good if "feature_type" not in fields else {"usage_amount": "1"}) | fields
    alone = await shop.post("/usage/record", bad)
    assert (alone.status_code, alone.json()["code"]) == (status, code)
    mixed = await shop.batch(good, bad, good)
    assert [row["status"] for row in mixed["results"]] == ["recorded", "rejected", "recorded"]
    assert mixed["results"][1]["code"] == code
    assert await shop.balance() == 6


async def test_an_empty_idempotency_key_names_no_event(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    body = {"usage_amount": "1000", "product_id": "gpt-4"}
    for key in ("", "x" * 256):
        answer = await shop.post("/usage/record", body, **{"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")
    assert await shop.balance() == 10


async def test_times_far_off_are_refused_and_late_ones_go_where_they_belong(
    new_shop: NewShop,
) -> None:
    now = datetime(2027, 3, 10, 12, tzinfo=UTC)
    shop = await new_shop("100", is_test=True, clock_at=now.isoformat())

    def at(**ago: int) -> str:
        return (now - timedelta(**ago)).isoformat()

    assert (await shop.record(status=422, occurred_at=at(days=36)))["code"] == "EVENT_TOO_OLD"
    assert (await shop.record(status=422, occurred_at=at(minutes=-6)))["code"] == "EVENT_IN_FUTURE"
    await shop.record(occurred_at=at(minutes=-4))
    late = await shop.record(occurred_at=at(days=20))
    record = await shop.get(f"/billing/records/{late['billing_id']}")
    assert record["is_late"]
    assert record["billing_period_start"] == "2027-02-01T00:00:00Z"
    assert (await shop.get("/usage/current"))["current_period"]["model_inference"] == "1000.00"


async def test_members_record_for_themselves(new_shop: NewShop) -> None:
    shop = await new_shop()
    body = {"usage_amount": "1", "feature_type": "impressions"}
    mine = await shop.post("/usage/record", body, role="member")
    assert mine.status_code == 201
    assert (await shop.get("/billing/records/user/tester"))["pagination"]["total"] == 1
    other = body | {"user_id": "someone"}
    checked = {"feature_type": "impressions", "requested_amount": 1, "user_id": "someone"}
    priced = {"product_id": "gpt-4", "usage_amount": "1", "user_id": "someone"}
    for path, sent in (
        ("/usage/record", other), ("/quota/check", checked), ("/billing/calculate", priced),
    ):  # fmt: skip
        refused = await shop.post(path, sent, role="member")
        assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND"), path
    (row,) = (await shop.post("/usage/batch", {"events": [other]}, role="member")).json()["results"]
    assert row["code"] == "NOT_FOUND"


async def test_an_agreed_price_goes_first_and_the_old_one_stays_for_what_was_used_before(
    new_shop: NewShop,
) -> None:
    start = datetime(2027, 3, 10, 12, tzinfo=UTC)
    shop = await new_shop("100", is_test=True, clock_at=start.isoformat())
    api = shop.api
    agreed = await api.client.put(
        "/api/v1/admin/price-overrides",
        headers=api.admin(),
        json={
            "account_id": shop.account["id"], "product": "gpt-4",
            "terms": {"unit_price": "0.001"},
        },
    )  # fmt: skip
    assert agreed.status_code == 200, agreed.text
    assert await shop.rows(
        "SELECT detail ->> 'currency' FROM billing_audit"
        " WHERE account_id = :id AND action = 'price.agreed'"
    ) == [("CREDIT",)]
    assert (await shop.record())["total_cost"] == "1.00"
    omitted = await api.client.put(
        "/api/v1/admin/price-overrides",
        headers=api.admin(),
        json={"account_id": shop.account["id"], "product": "gpt-4", "terms": {}},
    )
    assert (omitted.status_code, omitted.json()["errors"][0]["field"]) == (422, "terms")
    before = (start - timedelta(hours=1)).isoformat()
    assert (await shop.record(occurred_at=before))["total_cost"] == "2.00"
    quoted = await shop.post(CALCULATE, {"product_id": "gpt-4", "usage_amount": "1000"})
    assert quoted.json()["total_cost"] == "1.00"
    ended = await api.client.put(
        "/api/v1/admin/price-overrides",
        headers=api.admin(),
        json={"account_id": shop.account["id"], "product": "gpt-4", "terms": None},
    )
    assert ended.status_code == 204
    assert await shop.rows(
        "SELECT subject FROM billing_audit"
        " WHERE account_id = :id AND action = 'price.agreement_ended'"
    ) == [("product gpt-4",)]


async def test_prices_agreed_at_once_begin_one_after_the_other_and_after_earlier_uses(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100")

    async def agree(price: str) -> httpx2.Response:
        body = {"account_id": shop.account["id"], "product": "gpt-4"}
        return await shop.api.client.put(
            "/api/v1/admin/price-overrides",
            headers=shop.api.admin(),
            json=body | {"terms": {"unit_price": price}},
        )

    async with shop.api.database.tenant(shop.id) as connection:
        await credits.lock(connection, shop.id)
        agreeing = [asyncio.create_task(agree(price)) for price in ("0.003", "0.004")]
        await asyncio.wait(agreeing, timeout=0.5)
        used = datetime.now(UTC)
    answers = await asyncio.gather(*agreeing)
    assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
    times = [datetime.fromisoformat(one.json()["effective_from"]) for one in answers]
    assert used < min(times) < max(times)
    versions = await shop.rows(
        "SELECT effective_from, effective_to FROM price_overrides WHERE account_id = :id"
        " ORDER BY effective_from"
    )
    assert versions == [(min(times), max(times)), (max(times), None)]


async def test_tiers_and_free_units_go_on_from_use_to_use(new_shop: NewShop) -> None:
    shop = await new_shop("1000")
    runs = [await shop.record(n, product_id="agent-run") for n in ("99", "2", "1000")]
    assert [Decimal(run["total_cost"]) for run in runs] == [99, Decimal("1.8"), Decimal("769.7")]
    tokens = [await shop.record("6000", product_id="gpt-4-mini") for _ in range(2)]
    assert [(one["total_cost"], one["is_free_tier"]) for one in tokens] == [
        ("0", True),
        ("0.40", False),
    ]
    calls = [await shop.record("60", product_id="api-call") for _ in range(3)]
    assert [one["total_cost"] for one in calls] == ["0.10", "0.10", "0"]
    quoted = await shop.post(CALCULATE, {"product_id": "api-call", "usage_amount": "21"})
    assert quoted.json()["total_cost"] == "0.10"
