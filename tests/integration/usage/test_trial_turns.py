"""Dry runs and previews are decided for each account in turn, however often one asks for them."""

import asyncio
from typing import Any

import pytest

from api import account_turns
from billing.metering.usage import sql_batch
from billing.money.subscriptions import service
from tests.integration.usage.conftest import NewShop, Shop

USE = {"product_id": "gpt-4", "usage_amount": "1"}


async def told(greedy: Shop, other: Shop, path: str, body: Any, go: asyncio.Event) -> list[int]:
    """The statuses of more requests at once than may be under way; those of `greedy` wait for
    `go`, and the other account is answered meanwhile.
    """

    async def asked(shop: Shop) -> int:
        return (await shop.post(f"{path}?dry_run=true", body)).status_code

    async with asyncio.timeout(20):
        many = [asyncio.create_task(asked(greedy)) for _ in range(account_turns.OF_ONE + 2)]
        over, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        assert {one.result() for one in over} == {429}
        assert await asked(other) != 429
        go.set()
        return sorted([await one for one in many])


@pytest.mark.parametrize(
    ("path", "body"), [("/usage/record", USE), ("/usage/batch", {"events": [USE]})]
)
async def test_an_account_s_dry_runs_take_turns(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch, path: str, body: Any
) -> None:
    greedy, other, go = await new_shop("100"), await new_shop("100"), asyncio.Event()
    real, at_once = sql_batch.record, list[int]()
    under_way = 0

    async def slow(connection: Any, uses: Any, *rest: Any) -> Any:
        nonlocal under_way
        if uses[0].account_id != greedy.id:
            return await real(connection, uses, *rest)
        under_way += 1
        at_once.append(under_way)
        await go.wait()
        done = await real(connection, uses, *rest)
        under_way -= 1
        return done

    monkeypatch.setattr(sql_batch, "record", slow)
    statuses = await told(greedy, other, path, body, go)
    assert [one for one in statuses if one == 429] == [429] * 2
    assert {one for one in statuses if one != 429} <= {200, 201}
    assert at_once == [1] * account_turns.OF_ONE


async def test_an_account_s_previews_take_turns(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, other, go = await new_shop("100"), await new_shop("100"), asyncio.Event()
    real = service.commanded

    async def slow(connection: Any, account_id: Any, command: Any) -> Any:
        if account_id == greedy.id:
            await go.wait()
        return await real(connection, account_id, command)

    monkeypatch.setattr(service, "commanded", slow)
    path = "/billing/subscription/cancel"
    statuses = await told(greedy, other, path, {"at": "period_end"}, go)
    assert statuses == [404] * account_turns.OF_ONE + [429] * 2
