"""Shops with a plan and a clock of their own, without workflows behind them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.usage.conftest import NewShop, Shop

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)
CHAT: dict[str, Any] = {"feature_type": "chat_messages"}


async def on_plan(new_shop: NewShop, plan: str, credits: str | None = None) -> Shop:
    shop = await new_shop(credits, is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe(plan)
    return shop


async def move_clock(shop: Shop, **by: int) -> None:
    """Time alone: no workflow stands behind these rows."""
    async with shop.api.database.operator() as connection:
        from sqlalchemy import text

        await connection.execute(
            text("UPDATE accounts SET clock_at = clock_at + :by WHERE id = :id"),
            {"by": timedelta(**by), "id": shop.id},
        )
