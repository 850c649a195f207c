"""The largest numbers there are: each is taken or refused by name, and nobody else notices."""

from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import text

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW, move_clock
from tests.integration.usage.test_agreed_limits import move, strict

MOST: Final = "1000000000"
BEYOND: Final = "1000000000.000000000001"
HUGE: Final = "999999999999999"
CHAT: Final[dict[str, Any]] = {"feature_type": "chat_messages"}
READS: Final = (
    "/usage/current", "/usage/summary", "/usage/forecast", "/usage/limits", "/stats",
    "/usage/recommendations", "/billing/credits/balance", "/billing",
)  # fmt: skip


async def everything_reads(shop: Shop) -> None:
    for path in READS:
        await shop.get(path)


async def admin(shop: Shop, method: str, path: str, body: Any, status: int) -> Any:
    headers = shop.api.admin() | {"Idempotency-Key": str(uuid4())}
    answer = await shop.api.client.request(method, f"{V1}{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_use_larger_than_its_meter_allows_is_refused_alone(new_shop: NewShop) -> None:
    shop, other = await new_shop("10"), await new_shop("10")
    for body in (CHAT, {"product_id": "gpt-4"}):
        for amount in (BEYOND, HUGE):
            refused = await shop.record(amount, status=422, **body)
            assert refused["code"] == "USAGE_TOO_LARGE"
    rows: list[dict[str, Any]] = []
    for account in (shop.account["id"], other.account["id"]):
        rows += [CHAT | {"usage_amount": n, "account_id": account} for n in ("1", HUGE, "2")]
    answer = await shop.api.client.post(
        f"{V1}/usage/batch", json={"events": rows}, headers=shop.api.token("*", ["service"])
    )
    assert [row.get("code") for row in answer.json()["results"]] == [
        None, "USAGE_TOO_LARGE", None,
    ] * 2  # fmt: skip
    held = await shop.post("/billing/credits/holds", {"amount": "5"})
    refused = await shop.record(HUGE, status=422, hold_id=held.json()["hold_id"])
    assert refused["code"] == "USAGE_TOO_LARGE"
    for path, body in (
        ("/quota/check", CHAT | {"requested_amount": HUGE}),
        ("/billing/calculate", {"product_id": "gpt-4", "usage_amount": HUGE}),
    ):
        assert (await shop.post(path, body)).json()["code"] == "USAGE_TOO_LARGE"
    assert await shop.rows(
        "SELECT sum(usage_amount)::integer FROM billing_records WHERE account_id = :id"
    ) == [(3,)]


async def test_a_meter_has_a_largest_use_of_its_own(new_shop: NewShop) -> None:
    shop = await new_shop()
    meter = {
        "name": "Frames", "unit": "frame", "feature_types": ["frames"], "max_per_use": "250",
    }  # fmt: skip
    await admin(shop, "PUT", "/admin/meters/frames", meter | {"max_per_use": "1000000000001"}, 422)
    await admin(shop, "PUT", "/admin/meters/frames", meter, 200)
    try:
        await shop.record("250", feature_type="frames")
        await shop.record("250.1", status=422, feature_type="frames")
        await shop.record("251", feature_type="chat_messages")
    finally:
        await admin(shop, "PUT", "/admin/meters/frames", meter | {"is_active": False}, 200)


async def trust(shop: Shop) -> None:
    """Nothing that it leaves unpaid is too much, though no money ever came."""
    plan = await strict(shop, "full")
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text("UPDATE plans SET unpaid_limit = '{\"USD\": 1000000000000000000}' WHERE id = :id"),
            {"id": plan},
        )
    await move(shop, "active", plan)


async def test_the_largest_uses_fill_no_counter(new_shop: NewShop) -> None:
    """As if a million of the largest uses had come before, in each kind of counter."""
    shop = await new_shop("10", is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await trust(shop)
    names = {"user_id": "ann", "organization_id": "team", "operation": "o", "model": "m"}
    await shop.quota("10", hard=False)
    uses = [
        CHAT | names, {"feature_type": "ai_responses"} | names,
        {"service_type": "storage_minio", "usage_amount": "3"},
    ]  # fmt: skip
    rows = [{"usage_amount": MOST} | use for use in uses]
    assert (await shop.batch(*rows))["recorded"] == 3
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text(
                "UPDATE usage_counters SET quantity = quantity * 1000000, overage_total ="
                " overage_total * 1000000, overage = overage * 1000000 WHERE account_id = :id"
            ),
            {"id": shop.id},
        )
    for _ in range(2):
        assert (await shop.batch(*rows))["recorded"] == 3
    await shop.record("1", **CHAT)
    used = (await shop.get("/usage/current"))["current_period"]
    assert Decimal(used["chat_messages"]) == 10**15 + 2 * 10**9 + 1
    await shop.quota("10", window="cycle", hard=False)
    await everything_reads(shop)
    await move_clock(shop, days=1)
    await shop.record("1", **CHAT)
    await everything_reads(shop)


async def test_a_use_dearer_than_any_ledger_is_refused(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    dear = {"name": "Gold", "meter": "notifications", "service_type": "notification"}
    prices = {"CREDIT": "1000000"}
    await admin(shop, "PUT", "/admin/products/gold", dear | {"prices": prices}, 200)
    for _ in range(2):
        refused = await shop.record("999999999", status=422, product_id="gold")
        assert refused["code"] == "USAGE_TOO_LARGE"
        refused = await shop.record("1000000", status=402, product_id="gold")
        assert refused["required"] == "1000000000000.00"
    rows = [{"usage_amount": n, "product_id": "gold"} for n in ("0.000001", MOST, "0.000002")]
    done = await shop.batch(*rows)
    assert [row["status"] for row in done["results"]] == ["recorded", "rejected", "recorded"]
    body = {"product_id": "gold", "usage_amount": MOST}
    assert (await shop.post("/billing/calculate", body)).json()["code"] == "USAGE_TOO_LARGE"


async def test_the_largest_credits_leave_room_for_what_is_bought(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    gift = {"account_id": shop.account["id"], "reason": "most"}

    async def adjust(amount: str, status: int) -> Any:
        return await admin(shop, "POST", "/admin/credits/adjust", gift | {"amount": amount}, status)

    assert (await adjust(HUGE, 422))["code"] == "BALANCE_TOO_LARGE"
    await adjust("899999999999990", 201)
    assert (await adjust("1", 422))["code"] == "BALANCE_TOO_LARGE"
    await shop.grant("1000000000000")
    for amount, status in (("899999999999999", 201), (HUGE, 402), ("1000000000000", 201)):
        held = await shop.post("/billing/credits/holds", {"amount": amount})
        assert held.status_code == status, held.text
        if status == 201:
            path = f"/billing/credits/holds/{held.json()['hold_id']}/capture"
            assert (await shop.post(path, {})).status_code == 200
    overdraft = f"/admin/accounts/{shop.account['id']}/overdraft"
    for most, status in ((HUGE, 422), ("10000000000000", 200)):
        await admin(shop, "PUT", overdraft, {"overdraft": most, "reason": "most"}, status)
    assert await shop.balance() == 1
    await everything_reads(shop)


async def test_limits_and_budgets_take_the_largest_number(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    for _ in range(2):
        await shop.quota(HUGE)
        await shop.quota(HUGE, window="rolling", span_seconds=3600)
        body = {"limit": HUGE, "measure": "credits", "then": "block"}
        answer = await shop.api.client.put(f"{V1}/usage/budgets", json=body, headers=shop.headers())
        assert answer.status_code == 200, answer.text
        await shop.record(MOST, **CHAT)
        await shop.record("1")
        claim = CHAT | {"requested_amount": MOST, "consume": True, "event_id": str(uuid4())}
        assert (await shop.post("/quota/check", claim)).json()["allowed"]
    await everything_reads(shop)
