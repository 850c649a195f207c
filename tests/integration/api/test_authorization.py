"""Callers act for their own accounts; the platform's headers decide which [A6 to A14]."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.schemas import Answer
from api.app import create_app
from api.dependencies import AdminCall, BillingCall, MemberCall, MemberRead, ServiceCall
from api.routes.base import new_router
from billing.core import ids
from billing.core.database import Database
from billing.money.payments import event_commands
from tests.integration.api_app import Api, stack_settings
from workflows.client import connect


class Seen(Answer):
    """Whom the route believes to serve."""

    account: str | None


router = new_router("doors")


@router.post("/door/member")
async def member_door(call: MemberCall) -> Seen:
    """Any role."""
    return Seen(account=call.account.public_id)


@router.post("/door/read")
async def read_door(call: MemberRead) -> Seen:
    """Any role; an unknown account is none."""
    return Seen(account=call.account.public_id if call.account else None)


@router.post("/door/billing")
async def billing_door(call: BillingCall) -> Seen:
    """Writers."""
    return Seen(account=call.account.public_id)


@router.post("/door/service")
async def service_door(call: ServiceCall) -> Seen:
    """Operators."""
    return Seen(account=None)


@router.post("/door/admin")
async def admin_door(call: AdminCall) -> Seen:
    """Administrators."""
    return Seen(account=None)


@pytest.fixture(scope="module")
async def doors(api: Api) -> AsyncIterator[Api]:
    settings = stack_settings(api.stack)
    app = create_app(settings, api.database, await connect(settings))
    app.router.routes.extend(router.routes)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield Api(app, client, api.stack)


async def knock(
    api: Api, door: str, headers: dict[str, str], **more: str
) -> tuple[int, dict[str, Any]]:
    answer = await api.client.post(f"/api/v1/door/{door}", headers=headers | more)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("role", "open_doors"),
    [
        ("member", {"member", "read"}),
        ("billing", {"member", "read", "billing"}),
        ("service", {"member", "read", "billing", "service"}),
        ("admin", {"member", "read", "billing", "service", "admin"}),
    ],
)
async def test_a_role_opens_its_doors_and_no_other(
    doors: Api, role: str, open_doors: set[str]
) -> None:
    made = await doors.new_account()
    operator = role in {"service", "admin"}
    headers = doors.token("*" if operator else made["id"], [role])
    if operator:
        headers |= {"X-Account-Id": made["id"]}
    for door in ("member", "read", "billing", "service", "admin"):
        status, body = await knock(doors, door, headers)
        assert status == (200 if door in open_doors else 403), (role, door)
        if door in open_doors & {"member", "read", "billing"}:
            assert body == {"account": made["id"]}


async def test_both_names_of_an_account_mean_the_same_account(doors: Api) -> None:
    made = await doors.new_account()
    for name in (made["id"], made["external_id"]):
        own = doors.token(name, ["billing"])
        assert await knock(doors, "billing", own) == (200, {"account": made["id"]})
        assert (await knock(doors, "billing", own, **{"X-Account-Id": made["id"]}))[0] == 200
        operator = doors.admin() | {"X-Account-Id": name}
        assert await knock(doors, "billing", operator) == (200, {"account": made["id"]})


async def test_a_foreign_account_is_as_missing_as_a_missing_one(doors: Api) -> None:
    made, foreign = await doors.new_account(), await doors.new_account()
    own = doors.token(made["id"], ["billing"]) | {"X-Correlation-Id": "same"}
    names = [foreign["id"], foreign["external_id"], f"shop-{uuid4()}", "*", "acc_x", "é"]
    answers = []
    for name in names:
        headers = [(k.encode(), v.encode("latin-1")) for k, v in own.items()]
        headers.append((b"X-Account-Id", name.encode("latin-1")))
        answers.append(await doors.client.post("/api/v1/door/billing", headers=headers))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


async def test_an_operator_names_the_account(doors: Api) -> None:
    status, body = await knock(doors, "billing", doors.admin())
    assert (status, body["code"]) == (400, "ACCOUNT_REQUIRED")
    status, body = await knock(doors, "billing", doors.admin(), **{"X-Account-Id": "nobody"})
    assert (status, body["code"]) == (404, "MERCHANT_NOT_FOUND")


async def test_a_token_may_come_before_its_account(doors: Api) -> None:
    """Reads answer zeros, everything else 404; once the account is there, it is found."""
    external_id = f"shop-{uuid4()}"
    early = doors.token(external_id, ["billing"])
    assert await knock(doors, "read", early) == (200, {"account": None})
    status, body = await knock(doors, "billing", early)
    assert (status, body["code"]) == (404, "MERCHANT_NOT_FOUND")
    made = await doors.new_account(external_id=external_id)
    assert await knock(doors, "billing", early) == (200, {"account": made["id"]})


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 200),
        ({"X-Platform": "shopify"}, 200),
        ({"X-Platform": "Shopify", "X-Shop-Domain": "SHOP.example"}, 200),
        ({"X-Shop-Domain": "shop.example"}, 200),
        ({"X-Platform": "stripe"}, 403),
        ({"X-Shop-Domain": "other.example"}, 403),
        ({"X-Platform": "shopify", "X-Shop-Domain": "other.example"}, 403),
        ({"X-Platform": ""}, 403),
    ],
)
async def test_platform_headers_must_name_the_accounts_own_shop(
    doors: Api, sent: dict[str, str], status: int
) -> None:
    made = await doors.new_account(platform="shopify", platform_domain="shop.example")
    got, body = await knock(doors, "billing", doors.token(made["id"], ["billing"]), **sent)
    assert got == status
    if status == 403:
        assert body["code"] == "PLATFORM_MISMATCH"


@pytest.mark.parametrize(
    ("known", "sent"),
    [
        ("https://SHOP.example/", "shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("shop.example", "https://shop.example/"),
    ],
)
async def test_a_shop_is_its_host_however_it_is_written(doors: Api, known: str, sent: str) -> None:
    made = await doors.new_account(platform="shopify", platform_domain=known)
    own = doors.token(made["id"], ["billing"])
    assert (await knock(doors, "billing", own, **{"X-Shop-Domain": sent}))[0] == 200
    assert (await knock(doors, "billing", own, **{"X-Shop-Domain": "other.example"}))[0] == 403


async def test_platform_headers_of_an_operator_must_name_the_accounts_own_shop(doors: Api) -> None:
    made = await doors.new_account(platform="shopify", platform_domain="shop.example")
    gift = {"account_id": made["id"], "amount": "1", "reason": "sorry"}
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/credits/adjust", gift),
        ("GET", f"/accounts/{made['id']}", None),
        ("GET", f"/accounts/{made['external_id']}/clock", None),
        ("GET", f"/payments?account_id={made['id']}", None),
        ("POST", f"/accounts/{made['id']}/balance/adjust",
         {"amount_cents": 1, "currency": "USD", "reason": "sorry"}),
    ]  # fmt: skip
    for method, path, body in calls:
        for shop in ("other.example", "shop.example"):
            headers = doors.admin() | {"Idempotency-Key": str(uuid4()), "X-Shop-Domain": shop}
            answer = await doors.client.request(
                method, f"/api/v1/admin{path}", json=body, headers=headers
            )
            if shop == "shop.example":
                assert answer.is_success, answer.text
            else:
                refused = (answer.status_code, answer.json()["code"])
                assert refused == (403, "PLATFORM_MISMATCH"), path


async def test_an_account_is_not_written_as_one_of_another_shop(doors: Api) -> None:
    name, path = f"shop-{uuid4().hex}", "/api/v1/admin/accounts"
    shops = [{"platform": "shopify", "platform_domain": f"{one}.example"} for one in ("a", "b")]

    async def write(shop: str, **fields: str) -> tuple[int, Any]:
        headers = doors.admin() | {"X-Shop-Domain": shop}
        body = {"external_id": name} | fields
        answer = await doors.client.post(path, json=body, headers=headers)
        return answer.status_code, answer.json()

    assert (await write("b.example", **shops[0]))[1]["code"] == "PLATFORM_MISMATCH"
    assert (await write("a.example", **shops[0]))[0] == 201, "the refused one was not made"
    for fields in ({"email": "b@b.example"}, shops[1]):
        refused, problem = await write("b.example", **fields)
        assert (refused, problem["code"]) == (403, "PLATFORM_MISMATCH")
    kept, account = await write("a.example")
    assert (kept, account["email"], account["platform_domain"]) == (200, None, "a.example")
    assert (await write("a.example", **shops[1]))[0] == 200, "a shop may move"


async def test_an_account_without_a_platform_has_no_platform_headers(doors: Api) -> None:
    made = await doors.new_account()
    own = doors.token(made["id"], ["billing"])
    assert (await knock(doors, "billing", own, **{"X-Platform": "shopify"}))[0] == 403


async def test_a_shop_that_moves_is_believed_at_once(doors: Api) -> None:
    made = await doors.new_account(platform="shopify", platform_domain="old.example")
    own = doors.token(made["id"], ["billing"])
    assert (await knock(doors, "billing", own, **{"X-Shop-Domain": "old.example"}))[0] == 200
    moved = {
        "external_id": made["external_id"], "platform": "shopify", "platform_domain": "new.example",
    }  # fmt: skip
    await doors.client.post("/api/v1/admin/accounts", json=moved, headers=doors.admin())
    assert (await knock(doors, "billing", own, **{"X-Shop-Domain": "old.example"}))[0] == 403
    assert (await knock(doors, "billing", own, **{"X-Shop-Domain": "new.example"}))[0] == 200


@pytest.mark.parametrize("act", ["DELETE quotas/{quota}", "POST webhooks/evt_1/replay"])
async def test_the_shop_is_checked_on_the_connection_that_holds_the_account(
    doors: Api, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    made = await doors.new_account(platform="shopify", platform_domain="shop.example")
    body = {"account_id": made["id"], "limit": "1", "feature_type": "chat_messages"}
    put = await doors.client.put("/api/v1/admin/quotas", json=body, headers=doors.admin())
    matter = SimpleNamespace(account_id=ids.decode(ids.ACCOUNT, made["id"]))
    monkeypatch.setattr(event_commands, "replay", AsyncMock(return_value=matter))
    real, opened = Database.operator, list[Database]()

    @asynccontextmanager
    async def operator(database: Database) -> AsyncIterator[AsyncConnection]:
        assert not opened, "a second connection, for which all that hold one would wait"
        opened.append(database)
        async with real(database) as connection:
            yield connection
        opened.clear()

    monkeypatch.setattr(Database, "operator", operator)
    method, path = act.format(quota=put.json()["quota_id"]).split()
    headers = doors.admin() | {"X-Shop-Domain": "other.example"}
    answer = await doors.client.request(method, f"/api/v1/admin/{path}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "PLATFORM_MISMATCH")
