"""Credits for one meter: its uses burn them first, no other use can (docs/rules/credits.md)."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from billing.ledger.credits import service as credits
from tests.integration.usage.conftest import NewShop, Shop

TOKENS = "model_inference"


async def grant(shop: Shop, amount: str, scope: str) -> None:
    async with shop.api.database.tenant(shop.id) as connection:
        await credits.grant(
            connection, account_id=shop.id, amount=Decimal(amount), kind="adjustment",
            key=f"scope/{uuid4()}", is_paid=False, reason="test", scope=scope,
        )  # fmt: skip


async def left(shop: Shop) -> dict[str | None, Decimal]:
    rows = await shop.rows(
        "SELECT scope, sum(remaining) FROM credit_lots WHERE account_id = :id GROUP BY 1"
    )
    return dict(rows)


async def test_a_use_burns_credits_of_its_meter_first_then_general_ones(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await grant(shop, "5", TOKENS)
    await grant(shop, "5", "images")
    await shop.record("1000")
    assert await left(shop) == {None: 10, TOKENS: 3, "images": 5}
    rows: list[dict[str, Any]] = [{"usage_amount": "1000", "product_id": "gpt-4"}] * 3
    rows += [{"usage_amount": "10", "product_id": "mcp-call"}]
    done = await shop.batch(*rows)
    assert (done["recorded"], done["rejected"]) == (4, 0)
    assert await left(shop) == {None: Decimal("6.5"), TOKENS: 0, "images": 5}
    assert await shop.balance() == Decimal("11.5")


async def test_credits_of_another_meter_pay_nothing(new_shop: NewShop) -> None:
    shop = await new_shop()
    await grant(shop, "5", "images")
    refused = await shop.record("1000", status=402)
    assert refused["code"] == "INSUFFICIENT_CREDITS"
    await grant(shop, "3", TOKENS)
    rows: list[dict[str, Any]] = [
        {"usage_amount": "10", "product_id": "mcp-call"},
        *({"usage_amount": "500", "product_id": "gpt-4"} for _ in range(4)),
    ]
    done = await shop.batch(*rows)
    assert [one["status"] for one in done["results"]] == ["rejected"] + ["recorded"] * 3 + [
        "rejected"
    ]
    assert await left(shop) == {TOKENS: 0, "images": 5}


async def test_a_use_put_off_is_paid_by_credits_of_its_meter(new_shop: NewShop) -> None:
    shop = await new_shop()
    late = await shop.record("1000", on_insufficient="defer")
    assert late["billing_status"] == "pending"
    await grant(shop, "5", TOKENS)
    done = await shop.post("/billing/process", {"billing_id": late["billing_id"]})
    assert done.json()["billing_status"] == "completed"
    assert await left(shop) == {TOKENS: 3}


async def test_credits_of_a_meter_pay_no_other_by_way_of_a_hold(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await grant(shop, "5", "images")
    held = await shop.post("/billing/credits/holds", {"amount": "6", "scope": "images"})
    hold_id = held.json()["hold_id"]
    refused = await shop.record("1000", status=409, hold_id=hold_id)
    assert refused["code"] == "HOLD_SCOPE"
    assert await left(shop) == {None: 10, "images": 5}
    plain = await shop.post("/billing/credits/holds", {"amount": "6", "scope": TOKENS})
    await shop.record("1000", hold_id=plain.json()["hold_id"])
    assert await left(shop) == {None: 8, "images": 5}
