"""Callers see the catalog and their entitlements; operators change it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from billing.catalog.plans import store
from billing.core import ids
from tests.integration.api_app import Api
from tests.integration.catalog.subscribing import subscribe

PLANS = "/api/v1/billing/plans"
PACKS = "/api/v1/billing/credit-packages"
ENTITLEMENTS = "/api/v1/billing/entitlements"
ADMIN = "/api/v1/admin"


@pytest.fixture
def plan_body() -> dict[str, Any]:
    """A plan as an operator sends it."""
    return {
        "family": "test",
        "name": "Test plan",
        "features": {"export": True, "seats": 3},
        "limits": [
            {"meter": "api_calls", "included": "1000", "then": "overage", "prices": {"USD": "0.01"}}
        ],
        "trial_days": 7,
        "monthly_credits": "250",
        "prices": {"month": {"USD": {"amount_minor": 1200}, "JPY": {"amount_minor": 1500}}},
    }


async def member(api: Api) -> tuple[Any, dict[str, str]]:
    """A fresh account's id and the headers of one of its members."""
    made = await api.new_account()
    account_id = ids.decode(ids.ACCOUNT, made["id"])
    return account_id, api.token(made["external_id"], ["member"])


async def read(api: Api, path: str, headers: dict[str, str], **query: Any) -> Any:
    answer = await api.client.get(path, headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def put(api: Api, path: str, body: Any) -> Any:
    return await api.client.put(f"{ADMIN}{path}", json=body, headers=api.admin())


def by_key(page: Any) -> dict[str, Any]:
    return {row["key"]: row for row in page["data"]}


async def test_plans_are_listed_with_their_prices_and_what_they_give(api: Api) -> None:
    _, headers = await member(api)
    page = await read(api, PLANS, headers, family="app")
    assert [plan["key"] for plan in page["data"]] == ["free", "basic", "pro", "enterprise"]
    assert page["pagination"]["total"] == 4
    basic = by_key(page)["basic"]
    assert (basic["price_monthly"], basic["price_yearly"], basic["currency"]) == (
        1900, 19000, "USD",
    )  # fmt: skip
    assert basic["stripe_price_id_monthly"] is None
    assert basic["features"]["export"] is True
    assert basic["limits_by_name"] == {
        "ai_responses_limit": "500.00", "document_uploads_limit": "50.00",
        "storage_limit_gb": "10.00",
    }  # fmt: skip
    assert basic["limits"][0] == {
        "meter": "ai_responses", "included": "500.00", "then": "overage",
        "prices": {"EUR": "0.02", "USD": "0.02"},
    }  # fmt: skip
    assert (basic["trial_days"], basic["monthly_credits"], basic["is_active"]) == (
        14, "100.00", True,
    )  # fmt: skip
    assert [price["label"] for price in basic["prices"]] == [
        "19.00 USD per month",
        "190.00 USD per year",
    ]


async def test_a_plan_is_listed_with_the_least_that_its_period_costs(
    api: Api, key: str, plan_body: dict[str, Any]
) -> None:
    prices = {"month": {"USD": {"amount_minor": 0, "minimum_minor": 5000}}}
    assert (await put(api, f"/plans/{key}", plan_body | {"prices": prices})).status_code == 200
    _, headers = await member(api)
    [price] = by_key(await read(api, PLANS, headers))[key]["prices"]
    assert (price["amount_cents"], price["minimum_cents"]) == (0, 5000)
    assert price["label"] == "0.00 USD per month, at least 50.00 USD"
    [price] = by_key(await read(api, PLANS, headers))["free"]["prices"][:1]
    assert price["minimum_cents"] is None


async def test_packs_are_listed_with_labels(api: Api) -> None:
    _, headers = await member(api)
    packs = by_key(await read(api, PACKS, headers))
    assert (packs["small"]["credits"], packs["small"]["amount_cents"]) == ("100.00", 999)
    assert packs["large"]["label"] == "1000 credits for 69.99 USD"
    yen = by_key(await read(api, PACKS, headers, currency="JPY"))
    assert yen["medium"]["label"] == "500 credits for 6000 JPY"


async def test_what_has_no_price_in_the_account_s_currency_is_not_listed(api: Api) -> None:
    account_id, headers = await member(api)
    async with api.database.operator() as connection:
        await connection.execute(
            text("UPDATE credit_balances SET currency = 'JPY' WHERE account_id = :id"),
            {"id": account_id},
        )
    assert (await read(api, PLANS, headers, family="app"))["data"] == []
    assert {pack["currency"] for pack in (await read(api, PACKS, headers))["data"]} == {"JPY"}
    assert by_key(await read(api, PLANS, headers, currency="EUR"))["pro"]["price_monthly"] == 4900


async def test_an_account_never_heard_of_sees_prices_too(api: Api) -> None:
    headers = api.token(f"shop-{uuid4()}", ["member"])
    assert by_key(await read(api, PLANS, headers))["pro"]["currency"] == "USD"
    assert by_key(await read(api, PACKS, headers))["small"]["currency"] == "USD"
    assert (await read(api, ENTITLEMENTS, headers))["access"] == "none"


@pytest.mark.parametrize(
    ("status", "access", "granted"),
    [("active", "full", True), ("past_due", "no_new_overage", True), ("unpaid", "none", False)],
)
async def test_entitlements_follow_the_subscription(
    api: Api, status: str, access: str, granted: bool
) -> None:
    account_id, headers = await member(api)
    async with api.database.operator() as connection:
        await subscribe(connection, account_id, "pro", status)
    found = await read(api, ENTITLEMENTS, headers)
    assert (found["plan"], found["subscription_status"], found["access"]) == ("pro", status, access)
    assert found["features"].get("api_access", False) is granted
    one = await read(api, f"{ENTITLEMENTS}/api_access", headers)
    assert (one["granted"], one["access"]) == (granted, access)
    meter = await read(api, f"{ENTITLEMENTS}/ai_responses", headers)
    assert meter["granted"] is granted
    assert (meter["limit"] is not None) is granted


async def test_without_a_subscription_the_default_plan_entitles(api: Api) -> None:
    account_id, headers = await member(api)
    for _ in range(2):
        found = await read(api, ENTITLEMENTS, headers)
        assert {limit["meter"]: limit["included"] for limit in found.pop("limits")} == {
            "ai_responses": "50.00", "document_uploads": "5.00", "storage_gb": "1.00",
        }  # fmt: skip
        assert found == {
            "plan": "free", "plan_name": "Free", "subscription_status": None, "access": "full",
            "reason": None, "features": {"community_support": True},
        }  # fmt: skip
        async with api.database.operator() as connection:
            await subscribe(connection, account_id, "pro", "canceled")
    assert await read(api, f"{ENTITLEMENTS}/no-such-thing", headers) == {
        "feature": "no-such-thing", "granted": False, "value": None, "limit": None,
        "access": "full", "reason": None,
    }  # fmt: skip


async def test_a_subscriber_keeps_the_plan_it_bought(
    api: Api, key: str, plan_body: dict[str, Any]
) -> None:
    account_id, headers = await member(api)
    await put(api, f"/plans/{key}", plan_body)
    async with api.database.operator() as connection:
        await subscribe(connection, account_id, key, "active")
    await put(api, f"/plans/{key}", plan_body | {"features": {}})
    assert (await read(api, ENTITLEMENTS, headers))["features"] == {"export": True, "seats": 3}
    assert by_key(await read(api, PLANS, headers))[key]["features"] == {}


async def test_an_operator_puts_a_plan_and_reads_it_back(
    api: Api, key: str, plan_body: dict[str, Any]
) -> None:
    _, headers = await member(api)
    first = await put(api, f"/plans/{key}", plan_body)
    assert first.json()["changes"] == [
        f"plan {key}: added",
        f"price of plan {key} per month: none → 12.00 USD",
        f"price of plan {key} per month: none → 1500 JPY",
    ]
    assert (await put(api, f"/plans/{key}", plan_body)).json() == {"changes": []}
    closed = await put(api, f"/plans/{key}", plan_body | {"is_active": False})
    assert closed.json()["changes"] == [f"plan {key}: closed"]
    assert key not in by_key(await read(api, PLANS, headers))
    offered = by_key(await read(api, f"{ADMIN}/plans", api.admin()))[key]
    assert offered["is_active"] is False
    assert [price["amount_minor"] for price in offered["prices"]] == [1200, 1500]
    assert (offered["version"], offered["limits"][0]["prices"]) == (1, {"USD": "0.01"})


async def test_an_operator_puts_a_pack_and_a_cost(api: Api, key: str) -> None:
    _, headers = await member(api)
    pack = {"name": "Tiny", "credits": "7.5", "prices": {"USD": {"amount_minor": 99}}}
    assert (await put(api, f"/credit-packages/{key}", pack)).status_code == 200
    assert by_key(await read(api, PACKS, headers))[key]["credits"] == "7.50"
    assert key in by_key(await read(api, f"{ADMIN}/credit-packages", api.admin()))
    await put(api, f"/credit-packages/{key}", pack | {"is_active": False})
    assert key not in by_key(await read(api, PACKS, headers))

    for cost in ("0.25", "0.3"):
        await put(api, f"/credit-costs/{key}", {"cost": cost})
    costs = {
        row["operation"]: row
        for row in (await read(api, f"{ADMIN}/credit-costs", api.admin()))["data"]
    }
    (past,) = costs[key].pop("past")
    assert costs[key] == {"operation": key, "cost": "0.30", "is_active": True, "built_in": False}
    assert (past["cost"], datetime.fromisoformat(past["effective_to"]) <= datetime.now(UTC)) == (
        "0.25", True,
    )  # fmt: skip
    assert costs["ai_response"]["built_in"] is True


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/plans/{key}", {"name": "no family"}),
        ("/plans/{key}", {"family": "f", "name": "N", "prices": {"month": {"USD": 9.5}}}),
        ("/plans/{key}", {"family": "f", "name": "N", "colour": "red", "is_active": False}),
        ("/plans/No%20Key", {"family": "f", "name": "N", "is_active": False}),
        ("/credit-packages/{key}", {"name": "N", "credits": True, "prices": {"USD": 1}}),
        ("/credit-packages/{key}", {"name": "N", "credits": "1"}),
        ("/credit-costs/{key}", {"cost": 1e20}),
        ("/credit-costs/{key}", {"cost": "-1"}),
    ],
)
async def test_a_bad_catalog_entry_changes_nothing(
    api: Api, key: str, path: str, body: dict[str, Any]
) -> None:
    answer = await put(api, path.format(key=key), body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "VALIDATION_FAILED"
    async with api.database.operator() as connection:
        assert await store.find_plan(connection, key) is None
        assert await store.find_pack(connection, key) is None
        assert key not in {one.operation for one in await store.costs(connection)}


async def test_a_plan_that_limits_what_nobody_counts_is_refused(
    api: Api, key: str, plan_body: dict[str, Any]
) -> None:
    limits = [{"meter": "api_call", "included": "1000"}]
    refused = await put(api, f"/plans/{key}", plan_body | {"limits": limits})
    assert (refused.status_code, refused.json()["code"]) == (404, "METER_NOT_FOUND")
    assert "api_call" in refused.json()["detail"]
    async with api.database.operator() as connection:
        assert await store.find_plan(connection, key) is None


async def test_only_operators_change_the_catalog(
    api: Api, key: str, plan_body: dict[str, Any]
) -> None:
    made = await api.new_account()
    for role in ("member", "billing", "service"):
        account = "*" if role == "service" else made["external_id"]
        headers = api.token(account, [role])
        for path in (f"/plans/{key}", f"/credit-packages/{key}", f"/credit-costs/{key}"):
            answer = await api.client.put(f"{ADMIN}{path}", json=plan_body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        for path in ("/plans", "/credit-packages", "/credit-costs"):
            assert (await api.client.get(f"{ADMIN}{path}", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "dearer"),
    [
        ("plans", {"name": "P", "family": "f", "prices": {"month": {"USD": 1000}}},
         {"prices": {"month": {"USD": 1501}}}),
        ("credit-packages", {"name": "P", "credits": "10", "prices": {"USD": 1000}},
         {"prices": {"USD": 499}}),
        ("credit-packages", {"name": "P", "credits": "10", "prices": {"USD": 999}},
         {"credits": "100"}),
        ("credit-costs", {"cost": "10"}, {"cost": "100"}),
        ("products",
         {"name": "P", "meter": "api_calls", "service_type": "api_gateway",
          "prices": {"CREDIT": "0.01"}},
         {"prices": {"CREDIT": "0.1"}}),
    ],
)  # fmt: skip
async def test_a_price_changes_by_more_than_half_only_if_that_is_said(
    api: Api, path: str, body: dict[str, Any], dearer: dict[str, Any]
) -> None:
    target = f"/{path}/t{uuid4().hex[:10]}"
    added = await put(api, target, body)
    assert added.status_code == 200, added.text
    refused = await put(api, target, body | dearer)
    assert (refused.status_code, refused.json()["code"]) == (409, "CHANGE_TOO_LARGE")
    assert " → " in refused.json()["detail"], "it says which price"
    assert (await put(api, target, body)).json()["changes"] == [], "nothing was changed"
    meant = await put(api, f"{target}?allow_large_change=true", body | dearer)
    assert meant.status_code == 200, meant.text
    assert meant.json()["changes"] != []


async def test_a_price_goes_away_from_what_stays_on_sale_only_if_that_is_said(api: Api) -> None:
    key = f"t{uuid4().hex[:10]}"
    target = f"/credit-packages/{key}"
    both = {"name": "P", "credits": "10", "prices": {"USD": 1000, "EUR": 900}}
    assert (await put(api, target, both)).status_code == 200
    one = both | {"prices": {"USD": 1000}}
    refused = await put(api, target, one)
    assert (refused.status_code, refused.json()["code"]) == (409, "CHANGE_TOO_LARGE")
    assert "9.00 EUR → none" in refused.json()["detail"]
    meant = await put(api, f"{target}?allow_large_change=true", one)
    assert meant.json()["changes"] == [f"price of pack {key}: 9.00 EUR → none"]
