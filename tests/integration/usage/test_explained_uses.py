"""A debit explained by the uses behind it: which they are, and the arithmetic of each."""

from typing import Any

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import HOLDS, hold


async def explained(shop: Shop, transaction_id: str) -> Any:
    return await shop.get(f"/billing/credits/transactions/{transaction_id}/explain")


async def newest(shop: Shop) -> str:
    entries = await shop.get("/billing/credits/transactions")
    return str(entries["data"][0]["transaction_id"])


async def test_a_debit_names_its_uses_and_their_arithmetic(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    done = await shop.batch(
        {"product_id": "gpt-4", "usage_amount": "1000", "event_id": "e-1", "user_id": "ann"},
        {"product_id": "gpt-4", "usage_amount": "500", "event_id": "e-2", "user_id": "bob"},
    )
    assert done["recorded"] == 2
    entry = await newest(shop)
    told = await explained(shop, entry)
    assert told["uses_total"] == 2
    assert sorted((one["event_id"], one["words"], one["total_amount"]) for one in told["uses"]) == [
        ("e-1", "1000.00 x 0.002 = 2.00", "2.00"), ("e-2", "500.00 x 0.002 = 1.00", "1.00"),
    ]  # fmt: skip
    assert told["transaction"]["amount"] == "-3.00"
    listed = await shop.get("/billing/records", transaction_id=entry)
    ids = {one["billing_id"] for one in listed["data"]}
    assert ids == {one["billing_id"] for one in told["uses"]}
    for one in told["uses"]:
        record = await shop.get(f"/billing/records/{one['billing_id']}")
        assert record["transaction_id"] == entry
    member = shop.api.token(shop.account["id"], ["member"], "ann")
    path = f"{V1}/billing/credits/transactions/{entry}/explain"
    own = (await shop.api.client.get(path, headers=member)).json()
    assert [one["event_id"] for one in own["uses"]] == ["e-1"]


async def test_free_units_captures_and_voids_are_explained(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await shop.record("10500", product_id="gpt-4-mini")
    (use,) = (await explained(shop, await newest(shop)))["uses"]
    assert use["words"] == "10500.00 units cost 0.10 by the terms of their price"
    held = await hold(shop)
    spent = await shop.record(hold_id=held)
    (use,) = (await explained(shop, await newest(shop)))["uses"]
    assert use["billing_id"] == spent["billing_id"]
    path = f"{V1}/billing/records/{spent['billing_id']}/void"
    await shop.api.client.post(path, json={"reason": "wrong"}, headers=shop.api.admin())
    told = await explained(shop, await newest(shop))
    assert (told["transaction"]["kind"], told["transaction"]["amount"]) == ("void", "2.00")
    assert [one["words"] for one in told["uses"]] == ["taken back: 1000.00 x 0.002 = 2.00"]
    await shop.post(f"{HOLDS}/{await hold(shop)}/capture", {"amount": "4", "reason": "render"})
    told = await explained(shop, await newest(shop))
    assert (told["uses"], told["uses_total"], told["transaction"]["reason"]) == ([], 0, "render")
