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
from billing.platform.rate_windows import store
from devstack.stack import StackInfo
from tests.integration.actors import Actors
from tests.integration.api_app import Api, stack_settings
from workflows.client import connect

READ = "/api/v1/billing/invoices"


@pytest.fixture
async def two(stack: StackInfo) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Two processes, each with connections of its own."""
    settings = stack_settings(
        stack, BILLING_RATE_LIMIT=None, BILLING_RATE_LIMIT_READS="120/minute",
        BILLING_RATE_LIMIT_MONEY="3/minute",
    )  # fmt: skip
    async with AsyncExitStack() as opened:
        clients = []
        for _ in range(2):
            database = await opened.enter_async_context(open_database(settings))
            app = create_app(settings, database, await connect(settings))
            transport = httpx2.ASGITransport(app=app)
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


@pytest.mark.parametrize("role", ["member", "service"])
async def test_an_account_has_one_rate_under_all_of_its_names(
    api: Api, two: list[httpx2.AsyncClient], role: str
) -> None:
    account, busy = await api.new_account(), f"busy-{uuid4()}"

    def named(name: str) -> dict[str, str]:
        if role == "member":
            return api.token(name, [role], busy)
        return api.token("*", [role], busy) | {"X-Account-Id": name}

    for name in (account["id"], account["external_id"]):
        mine = named(name)
        answers = [await two[0].get(READ, headers=mine) for _ in range(60)]
        assert {answer.status_code for answer in answers} == {200}
    for client in two:
        refused = await client.get(READ, headers=named(account["id"]))
        assert refused.status_code == 429
    assert (await two[0].get(READ, headers=named(f"nobody-{busy}"))).status_code != 429


async def test_a_header_that_a_route_does_not_read_gives_no_rate_of_its_own(
    api: Api, two: list[httpx2.AsyncClient]
) -> None:
    mine = api.token("*", ["admin"], f"busy-{uuid4()}")
    left = []
    for name in ("one", "two"):
        answer = await two[0].get("/api/v1/admin/issuers", headers=mine | {"X-Account-Id": name})
        left.append(int(answer.headers["RateLimit-Remaining"]))
    assert left[0] - left[1] == 1


@pytest.mark.parametrize("role", ["billing", "service"])
async def test_uses_that_a_card_pays_at_once_count_as_money(
    api: Api, two: list[httpx2.AsyncClient], role: str
) -> None:
    account = (await api.new_account())["id"]
    named = {"account": account} if role == "billing" else {"account": "*"}
    mine = api.token(**named, roles=[role], subject=f"busy-{uuid4()}") | {"X-Account-Id": account}
    use = {"product_id": "gpt-4", "usage_amount": "1", "billing_method": "payment_charge"}
    record, codes = "/api/v1/usage/record", []
    for _ in range(2):
        answer = await two[0].post(record, json=use | {"event_id": str(uuid4())}, headers=mine)
        codes.append(answer.json()["code"])
    assert codes == ["PAYMENT_CHARGE_NOT_OFFERED"] * 2, "no card is saved"
    rows = [use | {"event_id": str(uuid4())} for _ in range(3)]
    batch = await two[1].post("/api/v1/usage/batch", json={"events": rows}, headers=mine)
    seen = [(row["code"], row["retry"]) for row in batch.json()["results"]]
    assert seen == [
        ("PAYMENT_CHARGE_NOT_OFFERED", False), ("RATE_LIMITED", True), ("RATE_LIMITED", True),
    ]  # fmt: skip
    refused = await two[0].post(record, json=use | {"event_id": str(uuid4())}, headers=mine)
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    process = await two[0].post(
        "/api/v1/billing/process", json={"billing_id": "bill_1"}, headers=mine
    )
    assert process.status_code == 429
    free = use | {"billing_method": "credit_consumption"}
    assert (await two[0].post(record, json=free, headers=mine)).status_code != 429


async def test_a_use_that_a_card_has_paid_is_sent_again_without_counting_as_money(
    actors: Actors, api: Api, two: list[httpx2.AsyncClient]
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    use = {
        "product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge",
        "event_id": "once",
    }  # fmt: skip
    done = await customer.ask("POST", "/usage/record", use, status=201)
    mine = api.token(customer.id, ["billing"], f"busy-{uuid4()}")
    for _ in range(4):
        again = await two[0].post("/api/v1/usage/record", json=use, headers=mine)
        assert (again.status_code, again.json()["billing_id"]) == (201, done["billing_id"])
        batch = await two[0].post("/api/v1/usage/batch", json={"events": [use]}, headers=mine)
        assert batch.json()["results"][0]["status"] == "duplicate"
    for _ in range(3):
        fresh = use | {"event_id": str(uuid4())}
        answer = await two[0].post("/api/v1/usage/record", json=fresh, headers=mine)
        assert answer.status_code == 201, answer.text
    refused = await two[0].post(
        "/api/v1/usage/record", json=use | {"event_id": str(uuid4())}, headers=mine
    )
    assert refused.status_code == 429


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
        _, last = await store.purge(connection, timedelta(0), after="")
        assert last is not None
        assert await store.purge(connection, timedelta(0), last) == (0, None)
        assert not await connection.scalar(text("SELECT count(*) FROM rate_windows"))
        await connection.rollback()


async def test_a_clock_that_is_set_back_keeps_nobody_out(
    api: Api, two: list[httpx2.AsyncClient]
) -> None:
    """A window that a wrong clock began would end only when time has come so far again."""
    mine = api.token((await api.new_account())["id"], ["member"], f"early-{uuid4()}")
    names = text("SELECT name FROM rate_windows")
    async with api.database.operator() as connection:
        before = set(await connection.scalars(names))
    assert (await two[0].get(READ, headers=mine)).status_code == 200
    async with api.database.operator() as connection:
        begun = set(await connection.scalars(names)) - before
        ahead = "began_at = clock_timestamp() + interval '1 hour', taken = 1000"
        await connection.execute(
            text(f"UPDATE rate_windows SET {ahead} WHERE name = ANY(:begun)"), {"begun": [*begun]}
        )
    answer = await two[1].get(READ, headers=mine)
    assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (200, "119")
    assert int(answer.headers["RateLimit-Reset"]) <= 60
