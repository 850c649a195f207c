"""The prices of a batch's products are fetched together."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from api.identity.tenants import Tenant
from api.pricing import ASKED_AT_ONCE, Prices, Wanted


async def test_once_a_price_cannot_be_fetched_the_rest_of_a_batch_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prices, asked = Prices(cast(Any, None), cast(Any, object())), list[str]()

    async def ask(_: object, wanted: Wanted) -> None:
        asked.append(wanted.product)
        await asyncio.sleep(0)
        if wanted.product == "product-0":
            raise TimeoutError("no connection")

    monkeypatch.setattr(prices, "_ask", ask)
    tenant = Tenant(UUID(int=1), "shop", is_test=False, opened_at=datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(TimeoutError):
        await prices.refusals([Wanted(tenant, f"product-{one}") for one in range(200)])
    await asyncio.sleep(0.01)
    assert len(asked) <= 2 * ASKED_AT_ONCE
