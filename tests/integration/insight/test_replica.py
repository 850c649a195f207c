"""Reads of usage on a replica: by default, unless they must be fresh or the replica is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from api.app import create_app
from api.monitoring import replica as watch
from billing.core import database as opening
from billing.core.clock import real_now
from billing.core.database import Database, open_database
from cli.doctor_checks import Patient, replica
from tests.integration.actors import wait_for
from tests.integration.api_app import Api, stack_settings
from tests.integration.usage.conftest import V1, NewShop

READS = (
    "/usage/current", "/usage/limits", "/usage/alerts", "/usage/summary", "/usage/aggregations",
    "/usage/logs",
    "/usage/forecast", "/usage/reports", "/usage/recommendations", "/stats", "/billing/records",
    "/billing/records/user/ann",
)  # fmt: skip


@asynccontextmanager
async def reading_from(api: Api, url: str, **more: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """An app like the stack's, with a replica."""
    settings = stack_settings(api.stack, replica_database_url=url, **more)
    async with open_database(settings) as database:
        transport = httpx2.ASGITransport(app=create_app(settings, database))
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            client.database = database  # type: ignore[attr-defined]
            yield client


def named(api: Api) -> str:
    """The stack's database under another name of the application, standing for a replica."""
    url = api.stack.app_url
    return f"{url}{'&' if '?' in url else '?'}application_name=replica"


async def where(database: Database, *, fresh: bool) -> Any:
    async with database.reading(fresh=fresh) as connection:
        return await connection.scalar(text("SHOW application_name"))


async def test_reads_go_to_the_replica_unless_they_must_be_fresh(api: Api) -> None:
    async with reading_from(api, named(api)) as client:
        database: Database = client.database  # type: ignore[attr-defined]
        assert await where(database, fresh=False) == "replica"
        assert await where(database, fresh=True) != "replica"


async def test_a_replica_that_is_away_is_passed_by(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await shop.record("1000", user_id="ann")
    nowhere = "postgresql+psycopg://billing_app@127.0.0.1:9/billing"
    async with reading_from(shop.api, nowhere) as client:
        for path in READS:
            answer = await client.get(f"{V1}{path}", headers=shop.headers())
            assert answer.status_code == 200, path
        body = (await client.get(f"{V1}/usage/current", headers=shop.headers())).json()
        assert body["meters"]["model_inference"]["quantity"] == "1000.00"


async def test_a_replica_that_hangs_is_passed_by(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "POOL_TIMEOUT_SECONDS", 0.1)
    async with reading_from(api, named(api), BILLING_DATABASE_POOL_SIZE=1) as client:
        database: Database = client.database  # type: ignore[attr-defined]
        async with database.reading():  # as one whose statement is never answered
            assert await where(database, fresh=False) != "replica"


@pytest.mark.parametrize(
    "lag",
    ["SELECT interval '1 hour'", "SELECT interval '0' FROM pg_sleep(30)"],
    ids=["stands still", "hangs"],
)
async def test_a_replica_that_is_far_behind_is_passed_by_as_one_that_hangs(
    api: Api, monkeypatch: pytest.MonkeyPatch, lag: str
) -> None:
    async with reading_from(api, named(api)) as client:
        database: Database = client.database  # type: ignore[attr-defined]
        monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.2)
        monkeypatch.setattr(opening, "_LAG", text(lag))
        async with watch.watching(database):
            read = partial(where, database, fresh=False)
            await wait_for(read, "reads leave it", lambda name: name != "replica")


async def test_the_doctor_sees_a_replica_that_is_away_or_stands_still(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(url: str) -> str:
        async with reading_from(api, url) as client:
            found: Any = client
            (sign,) = await replica(Patient(stack_settings(api.stack), found.database, found, None))
            return sign.state

    assert await told("postgresql+psycopg://billing_app@127.0.0.1:9/billing") == "unhealthy"
    assert await told(named(api)) == "healthy"
    monkeypatch.setattr(opening, "_LAG", text("SELECT interval '1 hour'"))
    assert await told(named(api)) == "unhealthy"


async def test_an_answer_says_how_far_it_goes(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await shop.record("1000")
    async with reading_from(shop.api, named(shop.api)) as client:
        for path in READS:
            for query in ("", "?fresh=true"):
                answer = await client.get(f"{V1}{path}{query}", headers=shop.headers())
                told = answer.headers.get("X-As-Of") or answer.json()["as_of"]
                as_of = datetime.fromisoformat(told)
                assert real_now() - as_of < timedelta(seconds=30)


async def test_what_must_be_fresh_is_limited_apart(new_shop: NewShop) -> None:
    shop = await new_shop()
    more = {"BILLING_RATE_LIMIT": "3/minute"}
    async with reading_from(shop.api, named(shop.api), **more) as client:
        seen = []
        for subject in ("ann", "bob", "cem", "dan"):
            headers = shop.api.token(shop.account["id"], ["member"], subject)
            path = f"{V1}/usage/limits?fresh=true"
            seen.append((await client.get(path, headers=headers)).status_code)
    assert seen == [200, 200, 200, 429]
