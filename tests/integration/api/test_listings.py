"""Operators list what all accounts have bought, and all that was changed."""

from typing import Any, Final

import pytest

from tests.integration.api.invoice_samples import numbered, owed
from tests.integration.api.route_samples import purchase
from tests.integration.api.subscription_samples import subscription
from tests.integration.api_app import Api

Json = dict[str, Any]
ADMIN: Final = "/api/v1/admin"


async def listed(api: Api, path: str, **query: Any) -> list[Json]:
    answer = await api.client.get(f"{ADMIN}/{path}", params=query, headers=api.admin())
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["data"]
    return found


@pytest.fixture(scope="module")
async def sold(api: Api) -> tuple[Json, Json, list[str]]:
    """Two accounts, and the subscription of each, the older one first."""
    first, second = await api.new_account(), await api.new_account()
    return first, second, [await subscription(api, one) for one in (first, second)]


async def test_subscribers_are_found_by_plan_price_and_status(
    api: Api, sold: tuple[Json, Json, list[str]]
) -> None:
    first, second, (older, newer) = sold
    newest = await listed(api, "subscriptions", plan="basic", status="incomplete", limit=2)
    assert [one["subscription_id"] for one in newest] == [newer, older]
    assert [one["account_id"] for one in newest] == [second["id"], first["id"]]
    shown = newest[0]
    assert (shown["plan"], shown["interval"], shown["plan_version"] > 0) == (
        "basic", "month", True,
    )  # fmt: skip
    at_its_price = {"price": shown["price_cents"], "currency": shown["currency"]}
    assert newest == await listed(api, "subscriptions", **at_its_price, limit=2)
    assert await listed(api, "subscriptions", price=shown["price_cents"] + 1) == []
    assert await listed(api, "subscriptions", status="active", account_id=first["id"]) == []


async def test_invoices_and_purchases_of_all_accounts_are_listed(
    api: Api, sold: tuple[Json, Json, list[str]]
) -> None:
    first, second, _ = sold
    made = [await purchase(api, one) for one in (first, second)]
    newest = await listed(api, "purchases", pack="small", status="pending", limit=2)
    assert [one["purchase_id"] for one in newest] == made[::-1]
    assert await listed(api, "purchases", pack="large", account_id=first["id"]) == []
    invoice = await owed(api, second)
    number = await numbered(api, invoice)
    (found,) = await listed(api, "invoices", number=number)
    assert (found["invoice_id"], found["user"]) == (invoice, second["id"])
    drafts = await listed(api, "invoices", status="draft", account_id=second["external_id"])
    assert {one["user"] for one in drafts} == {second["id"]}
    assert invoice in {one["invoice_id"] for one in drafts}


async def test_the_trail_of_all_accounts_is_searched_by_who_did_what_to_what(api: Api) -> None:
    made = await api.new_account()
    rename = {"external_id": made["external_id"], "name": "New"}
    await api.client.post(
        f"{ADMIN}/accounts", json=rename, headers=api.token("*", ["admin"], "anna")
    )
    (entry,) = await listed(api, "audit", actor="admin:anna", subject=made["id"])
    assert (entry["action"], entry["account_id"]) == ("account.changed", made["id"])
    day = entry["real_at"][:10]
    whole = {"account_id": made["external_id"], "start_date": day, "end_date": day}
    assert len(await listed(api, "audit", **whole)) == 2
    assert await listed(api, "audit", **whole, action="account.closed") == []
    assert await listed(api, "audit", **whole | {"start_date": entry["real_at"]}) == [entry]
    assert await listed(api, "audit", end_date="2020-01-01") == []


@pytest.mark.parametrize("path", ["subscriptions", "invoices", "purchases", "audit"])
async def test_lists_of_all_accounts_are_for_administrators(api: Api, path: str) -> None:
    made = await api.new_account()
    for headers in (api.token("*", ["service"]), api.token(made["id"], ["billing"])):
        answer = await api.client.get(f"{ADMIN}/{path}", headers=headers)
        assert answer.status_code == 403
    answer = await api.client.get(f"{ADMIN}/{path}?color=red", headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    answer = await api.client.get(f"{ADMIN}/{path}?account_id=nobody", headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (404, "MERCHANT_NOT_FOUND")
