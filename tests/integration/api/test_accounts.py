"""Accounts: made and changed by operators, fixed where money hangs on it."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from billing.core import ids
from billing.core.database import open_database
from billing.core.errors import NotFound
from billing.ledger.credits.tables import credit_balances
from billing.platform.accounts import store
from billing.platform.accounts.tables import accounts
from tests.integration.api_app import ACCOUNTS, Api, stack_settings


async def test_an_account_is_made_once_and_found_by_both_its_names(api: Api) -> None:
    made = await api.new_account(name="Bakery", email="a@bakery.example", zone="Europe/Berlin")
    again = await api.client.post(
        ACCOUNTS, json={"external_id": made["external_id"]}, headers=api.admin()
    )
    assert again.status_code == 200
    assert again.json() == made, "what was not sent stays"
    for name in (made["id"], made["external_id"]):
        found = await api.client.get(f"{ACCOUNTS}/{name}", headers=api.admin())
        assert found.json() == made


async def test_an_account_that_must_exist_is_refused_if_it_does_not(api: Api) -> None:
    made = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    async with api.database.operator() as connection:
        assert await store.find_by_id(connection, ids.new()) is None
        with pytest.raises(NotFound, match="NOT_FOUND: no such account"):
            await store.get(connection, ids.new())
        assert await store.get(connection, made) == await store.find_by_id(connection, made)


async def test_a_new_name_has_no_slash_and_an_old_one_is_still_changed(api: Api) -> None:
    name = f"tenant/{uuid4()}"
    answer = await api.client.post(ACCOUNTS, json={"external_id": name}, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    listed = await api.client.get(ACCOUNTS, params={"q": name}, headers=api.admin())
    assert listed.json()["data"] == []

    made = await api.new_account()
    async with api.database.operator() as connection:
        await connection.execute(
            update(accounts)
            .where(accounts.c.id == ids.decode(ids.ACCOUNT, made["id"]))
            .values(external_id=name)
        )
    body = {"external_id": name, "name": "Bakery"}
    answer = await api.client.post(ACCOUNTS, json=body, headers=api.admin())
    assert (answer.status_code, answer.json()["name"]) == (200, "Bakery")


async def test_a_new_account_has_an_empty_balance(api: Api) -> None:
    made = await api.new_account()
    account_id = ids.decode(ids.ACCOUNT, made["id"])
    async with api.database.tenant(account_id) as connection:
        rows = (await connection.execute(select(credit_balances))).mappings().all()
    assert [(row["account_id"], row["balance"]) for row in rows] == [(account_id, 0)]


async def test_fifty_signups_of_one_shop_make_one_account(api: Api) -> None:
    external_id = f"shop-{uuid4()}"
    answers = await asyncio.gather(
        *(
            api.client.post(
                ACCOUNTS,
                json={"external_id": external_id, "name": f"n{number % 3}"},
                headers=api.admin(),
            )
            for number in range(50)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_what_changes_is_audited_by_name_and_nothing_else(api: Api) -> None:
    made = await api.new_account(name="Old", platform="shopify", platform_domain="a.example")
    changed = await api.client.post(
        ACCOUNTS,
        json={"external_id": made["external_id"], "name": "New", "locale": "en"},
        headers=api.admin() | {"X-Correlation-Id": "rename-1"},
    )
    assert changed.json() == made | {"name": "New"}
    trail = await api.client.get(f"{ACCOUNTS}/{made['id']}/audit", headers=api.admin())
    entries = trail.json()["data"]
    assert [entry["action"] for entry in entries] == ["account.changed", "account.created"]
    assert entries[0]["detail"] == {"fields": ["name"]}
    assert entries[0]["correlation_id"] == "rename-1"
    assert entries[0]["actor"] == "admin:ops"
    assert "New" not in trail.text, "personal data stays out of the trail"


async def test_whether_an_account_is_a_test_is_fixed_at_birth(api: Api) -> None:
    made = await api.new_account(is_test=True, clock_at="2027-01-01T00:00:00+01:00")
    assert made["clock_at"] == "2026-12-31T23:00:00Z"
    assert made["clock_status"] == "ready"
    same = {"external_id": made["external_id"], "is_test": True, "clock_at": made["clock_at"]}
    answers = [
        await api.client.post(ACCOUNTS, json=same | change, headers=api.admin())
        for change in ({}, {"is_test": False, "clock_at": None}, {"clock_at": "2030-01-01T00:00Z"})
    ]
    assert [answer.status_code for answer in answers] == [200, 409, 409]
    assert {answer.json()["code"] for answer in answers[1:]} == {"ACCOUNT_FIXED"}


async def test_no_clock_may_be_said_again(api: Api) -> None:
    body = {"external_id": f"shop-{uuid4()}", "clock_at": None}
    answers = [await api.client.post(ACCOUNTS, json=body, headers=api.admin()) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]


async def test_only_a_test_account_has_a_clock_of_its_own(api: Api) -> None:
    body = {"external_id": f"shop-{uuid4()}", "clock_at": "2027-01-01T00:00:00Z"}
    answer = await api.client.post(ACCOUNTS, json=body, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (409, "CLOCK_NEEDS_TEST_ACCOUNT")
    missing = await api.client.get(f"{ACCOUNTS}/{body['external_id']}", headers=api.admin())
    assert missing.status_code == 404, "nothing was made"


@pytest.mark.parametrize(
    "fields",
    [
        {"zone": "Mars/Olympus"}, {"zone": ""}, {"external_id": "acc_00000000000000000000000000"},
        {"external_id": "*"}, {"external_id": ""}, {"external_id": "a b"}, {"external_id": 7},
        {"external_id": "ä"}, {"email": "nobody"}, {"email": "4242424242424242@one.example"},
        {"country": "Germany"}, {"country": "UK"}, {"country": "EL"}, {"locale": "EN"},
        {"is_test": 1}, {"is_test": "yes"}, {"platform": "shopify"}, {"platform_domain": "a.b"},
        {"platform": "shopify", "platform_domain": "a.b!"},
        {"clock_at": "2027-01-01T00:00:00"}, {"clock_at": 1}, {"surprise": True}, {"id": "acc_1"},
        {"stripe_customer_id": "cus_1"}, {"status": "closed"}, {"name": ""}, {"name": "x" * 300},
        {"issuer_id": "iss_1"}, {"created_at": "2020-01-01T00:00:00Z"},
    ],
)  # fmt: skip
async def test_a_field_it_cannot_take_is_refused_and_changes_nothing(
    api: Api, fields: dict[str, Any]
) -> None:
    body = {"external_id": f"shop-{uuid4()}"} | fields
    answer = await api.client.post(ACCOUNTS, json=body, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    if "external_id" not in fields:
        found = await api.client.get(f"{ACCOUNTS}/{body['external_id']}", headers=api.admin())
        assert found.status_code == 404


@pytest.mark.parametrize("half", ["platform", "platform_domain"])
async def test_half_of_a_platform_cannot_be_taken_away(api: Api, half: str) -> None:
    shop = {"external_id": f"shop-{uuid4()}", "platform": "etsy", "platform_domain": "a.example"}
    await api.client.post(ACCOUNTS, json=shop, headers=api.admin())
    halved = {"external_id": shop["external_id"], half: None}
    answer = await api.client.post(ACCOUNTS, json=halved, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    none = {**halved, "platform": None, "platform_domain": None}
    answer = await api.client.post(ACCOUNTS, json=none, headers=api.admin())
    assert (answer.status_code, answer.json()["platform_domain"]) == (200, None)


async def test_an_unknown_issuer_is_named(api: Api) -> None:
    body = {"external_id": f"shop-{uuid4()}", "issuer": "moon-office"}
    answer = await api.client.post(ACCOUNTS, json=body, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (404, "ISSUER_NOT_FOUND")


@pytest.mark.parametrize(
    ("roles", "account", "status"),
    [
        (["admin"], "*", 200),
        (["service"], "*", 200),
        (["billing"], "own", 403),
        (["member"], "own", 403),
        (["member", "billing"], "own", 403),
    ],
)
async def test_accounts_are_the_operators_business(
    api: Api, roles: list[str], account: str, status: int
) -> None:
    made = await api.new_account()
    headers = api.token(account if account == "*" else made["id"], roles)
    answers = [
        await api.client.get(ACCOUNTS, headers=headers),
        await api.client.get(f"{ACCOUNTS}/{made['id']}", headers=headers),
        await api.client.post(ACCOUNTS, json={"external_id": made["external_id"]}, headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [status] * 3


async def test_the_audit_trail_is_for_administrators(api: Api) -> None:
    made = await api.new_account()
    headers = api.token("*", ["service"])
    answer = await api.client.get(f"{ACCOUNTS}/{made['id']}/audit", headers=headers)
    assert answer.status_code == 403


async def test_the_list_is_searched_by_what_operators_know(api: Api) -> None:
    mark = uuid4().hex
    named = await api.new_account(name=f"Shop 100%_{mark}", is_test=True)
    await api.new_account(name=f"Shop 100xx{mark}")
    for filters, expected in (
        ({"q": f"100%_{mark}"}, [named["id"]]),
        ({"q": mark, "is_test": "true"}, [named["id"]]),
        ({"q": mark, "platform": "shopify"}, []),
    ):
        answer = await api.client.get(ACCOUNTS, params=filters, headers=api.admin())
        assert [row["id"] for row in answer.json()["data"]] == expected


async def test_of_two_provider_customers_the_first_one_stays(api: Api) -> None:
    made = await api.new_account()
    account_id = ids.decode(ids.ACCOUNT, made["id"])
    first, second = f"cus_{uuid4().hex}", f"cus_{uuid4().hex}"
    async with open_database(stack_settings(api.stack)) as database:

        async def claim(customer: str) -> str | None:
            async with database.tenant(account_id) as connection:
                return await store.lock_customer(connection, account_id, customer)

        assert await claim(first) == first
        assert await claim(second) == first
