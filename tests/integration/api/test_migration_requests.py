"""Migration requests: from the console's form to the operator who acts on them [P12-P15, R7]."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import httpx2
import pytest
from sqlalchemy import select

from billing.core import ids
from billing.core.database import metadata
from billing.insight.health import store
from billing.insight.health.schemas import Backlog
from tests.integration.api_app import Api

PATH: Final = "/api/v1/billing/migration/request"
OWN: Final = f"{PATH}s"
LIST: Final = "/api/v1/admin/migration-requests"
NOTES: Final = (
    "Our shop is tested;\nplease move us on a Monday, when nobody buys, and tell Ann first."
)
PREVIEW: Final = "Our shop is tested; please move us on a Monday, when nobody buys, and tell Ann…"
BODY: Final = {"environment": "production", "notes": NOTES}


async def ask(api: Api, account: str, body: Any = BODY, **headers: str) -> httpx2.Response:
    """A request by the account's staff."""
    proof = api.token(account, ["billing"], "ann")
    return await api.client.post(PATH, json=body, headers=proof | headers)


async def listed(api: Api, **query: str) -> list[dict[str, Any]]:
    answer = await api.client.get(LIST, params=query, headers=api.admin())
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def own(api: Api, account: str, **query: str) -> list[dict[str, Any]]:
    """The requests that the account's staff reads."""
    proof = api.token(account, ["billing"], "ann")
    answer = await api.client.get(OWN, params=query, headers=proof)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def handle(api: Api, request_id: str) -> httpx2.Response:
    return await api.client.post(
        f"{LIST}/{request_id}/handle", json={"comment": "moved, Ann knows"}, headers=api.admin()
    )


@pytest.fixture
async def account(api: Api) -> str:
    return str((await api.new_account())["id"])


async def test_a_request_reaches_the_operators_and_is_handled_once(api: Api, account: str) -> None:
    answer = await ask(api, account)
    assert answer.status_code == 202, answer.text
    queued = answer.json()
    assert queued == {
        "requestId": queued["requestId"],
        "environment": "production",
        "status": "queued",
        "submittedAt": queued["submittedAt"],
        "handledAt": None,
        "channel": "operators",
        "notesPreview": PREVIEW,
    }
    (found,) = await listed(api, account_id=account, status="queued")
    assert (found["migration_request_id"], found["account_id"]) == (queued["requestId"], account)
    assert (found["notes"], found["requested_by"]) == (NOTES, "billing:ann")
    assert await listed(api, account_id=account, status="handled") == []

    handled = (await handle(api, queued["requestId"])).json()
    assert (handled["status"], handled["handled_by"]) == ("handled", "admin:ops")
    assert handled["comment"] == "moved, Ann knows"
    again = await handle(api, queued["requestId"])
    assert (again.status_code, again.json()["code"]) == (409, "MIGRATION_REQUEST_HANDLED")
    assert await listed(api, account_id=account, status="queued") == []
    assert await listed(api, account_id=account) == [handled]
    told = await kept(api, account, "events", "type")
    assert told == ["evt.billing.migration.requested", "evt.billing.migration.handled"]
    audited = await kept(api, account, "billing_audit", "action")
    assert audited[-2:] == ["migration.requested", "migration.handled"]


async def kept(api: Api, account: str, name: str, column: str) -> list[str]:
    """A column of the account's rows, oldest first."""
    table = metadata.tables[name]
    async with api.database.operator() as connection:
        found = await connection.execute(
            select(table.c[column])
            .where(table.c.account_id == ids.decode(ids.ACCOUNT, account))
            .order_by(table.c.id)
        )
    return list(found.scalars())


@pytest.mark.parametrize(
    "change",
    [
        {"notes": "nineteen characters"},
        {"notes": "  nineteen characters  "},
        {"notes": "x" * 5_001},
        {"notes": "our card is 4242 4242 4242 4242"},
        {"environment": "staging"},
        {"environment": None},
        {"channel": "mail"},
    ],
)
async def test_a_form_that_is_filled_in_wrongly_is_refused(
    api: Api, account: str, change: dict[str, Any]
) -> None:
    answer = await ask(api, account, BODY | change)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert await listed(api, account_id=account) == []


async def test_twenty_characters_are_enough(api: Api, account: str) -> None:
    answer = await ask(api, account, {"environment": "sandbox", "notes": "exactly twenty chars"})
    assert (answer.status_code, answer.json()["notesPreview"]) == (202, "exactly twenty chars")


async def test_the_same_key_asks_once(api: Api, account: str) -> None:
    key = {"Idempotency-Key": "one-migration"}
    first, again = [await ask(api, account, **key) for _ in range(2)]
    assert again.content == first.content
    other = await ask(api, account, BODY | {"environment": "sandbox"}, **key)
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert len(await listed(api, account_id=account)) == 1
    await handle(api, first.json()["requestId"])
    later = await ask(api, account, **key)
    assert later.status_code == 202, "a 202 is asked how it went"
    (shown,) = await own(api, account)
    assert later.json() == shown
    assert shown == first.json() | {"status": "handled", "handledAt": shown["handledAt"]}
    assert shown["handledAt"]


async def test_an_account_reads_its_own_requests_newest_first(api: Api, account: str) -> None:
    other = str((await api.new_account())["id"])
    await ask(api, other)
    first, second = [(await ask(api, account)).json() for _ in range(2)]
    assert await own(api, account) == [second, first]
    await handle(api, first["requestId"])
    assert await own(api, account, status="queued") == [second]
    (handled,) = await own(api, account, status="handled")
    assert (handled["requestId"], handled["environment"]) == (first["requestId"], "production")
    assert await own(api, account, limit="1", page="2") == [handled]


async def test_what_a_test_account_asks_for_is_waited_for_in_real_time(api: Api) -> None:
    fields = {"is_test": True, "clock_at": "2021-01-01T10:00:00Z"}
    account = str((await api.new_account(**fields))["id"])
    before = await waiting(api)
    await ask(api, account)
    after = await waiting(api)
    assert after.count == before.count + 1
    assert after.oldest is not None
    assert after.oldest < timedelta(hours=12), "no test runs that long"


async def waiting(api: Api) -> Backlog:
    """The requests that wait, as the health sign counts them."""
    async with api.database.operator() as connection:
        return (await store.look(connection)).backlog("migration_requests")


async def test_one_account_cannot_flood_the_list(api: Api, account: str) -> None:
    answers = await asyncio.gather(*(ask(api, account) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [409] * 3
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["code"] == "MIGRATION_REQUEST_LIMIT"
    key = {"Idempotency-Key": "one-more"}
    assert (await ask(api, account, **key)).status_code == 409
    (first, *_) = await listed(api, account_id=account)
    await handle(api, first["migration_request_id"])
    assert (await ask(api, account, **key)).status_code == 202, "there is room again"


async def test_only_staff_asks_and_only_operators_read(api: Api, account: str) -> None:
    member = await api.client.post(PATH, json=BODY, headers=api.token(account, ["member"]))
    reading = await api.client.get(OWN, headers=api.token(account, ["member"]))
    staff = await api.client.get(LIST, headers=api.token(account, ["billing"]))
    assert {one.status_code for one in (member, reading, staff)} == {403}
