"""Holds on the credits of a shop."""

from typing import Any

from tests.integration.usage.conftest import Shop

HOLDS = "/billing/credits/holds"


async def hold(shop: Shop, amount: str = "5", **more: Any) -> str:
    answer = await shop.post(HOLDS, {"amount": amount} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["hold_id"])


async def state(shop: Shop, hold_id: str) -> tuple[str, str]:
    shown = await shop.get(f"{HOLDS}/{hold_id}")
    return shown["status"], shown["captured"]
