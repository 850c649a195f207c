"""A caller has its rate once, however many processes of the API answer it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text

from api.app import create_app
from billing.core.database import open_database
from billing.platform.rates import store
from devstack.stack import StackInfo
from tests.integration.api_app import Api, stack_settings

READ = "/api/v1/billing/invoices"


@pytest.fixture
async def two(stack: StackInfo) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Two processes, each with connections of its own."""
    settings = stack_settings(stack, BILLING_RATE_LIMIT=None, BILLING_RATE_LIMIT_READS="120/minute")
    async with AsyncExitStack() as opened:
        clients = []
        for _ in range(2):
            database = open_database(settings)
            opened.push_async_callback(database.close)
            transport = httpx2.ASGITransport(app=create_app(settings, database))
            client = httpx2.AsyncClient(transport=transport, base_url="http://api")
            clients.append(await opened.enter_async_context(client))
        yield clients


async def test_two_processes_share_one_rate(api: Api, two: list[httpx2.AsyncClient]) -> None:
    account = (await api.new_account())["id"]
    mine = api.token(account, ["member"], f"busy-{uuid4()}")
    taken = [await two[number % 2].get(READ, headers=mine) for number in range(120)]
    assert {answer.status_code for answer in taken} == {200}
    refused = [await client.get(READ, headers=mine) for client in two]
    assert [answer.status_code for answer in refused] == [429, 429]
    for answer in refused:
        assert answer.headers["RateLimit-Remaining"] == "0"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    quiet = api.token(account, ["member"], f"quiet-{uuid4()}")
    assert (await two[0].get(READ, headers=quiet)).headers["RateLimit-Remaining"] == "119"
    # The other process is told what is left but for the part that the first one keeps.
    assert (await two[1].get(READ, headers=quiet)).headers["RateLimit-Remaining"] == "117"


async def test_a_window_that_is_over_gives_all_again_and_is_forgotten(api: Api) -> None:
    name, span = f"reads {uuid4()}", timedelta(minutes=1)
    old = text("UPDATE rate_windows SET began_at = began_at - interval '61 seconds'")
    async with api.database.operator() as connection:
        await store.lease(connection, name, 5, span, 3)
        second = await store.lease(connection, name, 5, span, 3)
        assert (second.granted, second.rest) == (2, 0)
        assert (await store.lease(connection, name, 5, span, 3)).granted == 0
        await connection.execute(old)
        fresh = await store.lease(connection, name, 5, span, 3)
        assert (fresh.granted, fresh.rest) == (3, 2)
        assert 59 < fresh.seconds <= 60
        await store.purge(connection, timedelta(0))
        assert not await connection.scalar(text("SELECT count(*) FROM rate_windows"))
        await connection.rollback()
