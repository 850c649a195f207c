"""Statements that may change all uses of a cycle have longer than others."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.metering.limit_overrides import store as limits
from billing.metering.usage import store
from billing.money.invoices import usage_lines
from billing.money.usage_voids import service as voids
from tests.integration.usage.conftest import NewShop, Shop

Act = Callable[[AsyncConnection, Shop], Awaitable[Any]]


async def void(connection: AsyncConnection, shop: Shop) -> None:
    ((record,),) = await shop.rows("SELECT id FROM billing_records WHERE account_id = :id")
    await voids.void(connection, shop.id, record, "sent twice")


ACTS: Final[dict[str, Act]] = {
    "new terms": lambda connection, shop: store.follow(connection, shop.id, real_now()),
    "old terms again": lambda connection, shop: store.follow_again(
        connection, account_id=shop.id, at=real_now()
    ),
    "an agreed limit": lambda connection, shop: limits.follow(connection, shop.id, real_now()),
    "a void": void,
    "an invoice": lambda connection, shop: usage_lines.complete_records(
        connection, account_id=shop.id, invoice=ids.encode(ids.INVOICE, ids.new()), currency="USD",
        lines=[], at=real_now(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
async def test_a_cycle_of_very_many_uses_has_time_for(new_shop: NewShop, act: str) -> None:
    shop = await new_shop("10")
    await shop.record()
    async with shop.api.database.tenant(shop.id) as connection:
        await ACTS[act](connection, shop)
        assert await connection.scalar(text("SHOW statement_timeout")) == "10s"
        assert await connection.scalar(text("SHOW lock_timeout")) == "5s", "waits are as short"
