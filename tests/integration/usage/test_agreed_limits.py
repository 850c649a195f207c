"""Limits agreed with one account go before its plan's: at once, for it alone, until they end."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from billing.core import clock, ids
from devstack.options import ROOT
from tests.integration.catalog.subscribing import change
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import CHAT, move_clock

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)
AI: dict[str, Any] = {"feature_type": "ai_responses"}
OVERAGE: dict[str, Any] = {"included": "1", "then": "overage"}


async def on_plan(new_shop: NewShop, plan: str) -> Shop:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe(plan)
    return shop


async def move(shop: Shop, status: str, plan_id: object) -> None:
    """Its subscription goes on in another state and under another plan."""
    async with shop.api.database.operator() as connection:
        at = await clock.now(connection, shop.id)
        await change(connection, shop.id, status=status, plan_id=plan_id, updated_at=at)


async def strict(shop: Shop, access: str) -> object:
    """A version of the plan basic that gives less to those who are past due."""
    async with shop.api.database.operator() as connection:
        return await connection.scalar(
            text(
                "INSERT INTO plans SELECT (jsonb_populate_record(p, jsonb_build_object("
                " 'id', uuidv7(), 'version', 1000 + floor(random() * 1000000)::int,"
                " 'is_current', false, 'past_due_access', CAST(:access AS text)))).*"
                " FROM plans p WHERE key = 'basic' AND is_current RETURNING id"
            ),
            {"access": access},
        )


async def operate(
    shop: Shop, method: str, meter: str | None = None, body: dict[str, Any] | None = None
) -> httpx2.Response:
    path = f"{V1}/admin/accounts/{shop.account['id']}/limits{f'/{meter}' if meter else ''}"
    return await shop.api.client.request(method, path, json=body, headers=shop.api.admin())


async def agree(shop: Shop, meter: str = "ai_responses", **body: Any) -> Any:
    answer = await operate(shop, "PUT", meter, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def end(shop: Shop, meter: str = "ai_responses", status: int = 200) -> Any:
    answer = await operate(shop, "DELETE", meter)
    assert answer.status_code == status, answer.text
    return answer.json()


async def agreed(shop: Shop) -> list[tuple[Any, ...]]:
    """Meter, units and end of all that was ever agreed, newest first."""
    answer = await operate(shop, "GET")
    assert answer.status_code == 200, answer.text
    return [(row["meter"], row["included"], row["effective_to"]) for row in answer.json()["data"]]


async def shown(shop: Shop, meter: str = "ai_responses") -> list[Any]:
    """Units of a meter as entitlements, limits and usage show them."""
    entitled = await shop.get(f"/billing/entitlements/{meter}")
    limits = {row["meter"]: row["limit"] for row in await shop.limits()}
    usage = (await shop.get("/usage/current"))["meters"].get(meter)
    limit = entitled["limit"]
    return [limit and limit["included"], limits.get(meter), usage and usage["included"]]


async def sources(shop: Shop) -> dict[str, str]:
    """The source of each limit, by its meter."""
    return {row["meter"]: row["source"] for row in await shop.limits()}


async def audited(shop: Shop) -> list[tuple[Any, ...]]:
    return await shop.rows(
        "SELECT action, subject FROM billing_audit"
        " WHERE account_id = :id AND action LIKE 'limit.%' ORDER BY id"
    )


async def test_a_larger_allowance_lets_through_what_the_plan_blocks(new_shop: NewShop) -> None:
    shop, other = await on_plan(new_shop, "free"), await on_plan(new_shop, "free")
    await shop.record("50", **AI)
    await shop.record("1", status=429, **AI)
    made = await agree(shop, included="200")
    assert (made["meter"], made["included"], made["then"], made["effective_to"]) == (
        "ai_responses", "200.00", "block", None,
    )  # fmt: skip
    assert made["effective_from"] == "2027-01-10T12:00:00Z"
    assert await shown(shop) == ["200.00"] * 3
    await shop.record("150", **AI)
    refused = await shop.record("1", status=429, **AI)
    assert (refused["limit"], refused["used"]) == ("200.00", "200.00")
    await other.record("51", status=429, **AI)
    assert await shown(other) == ["50.00"] * 3
    assert await shown(shop, "document_uploads") == ["5.00"] * 3


async def test_a_meter_that_the_plan_has_no_limit_on_can_have_one(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await agree(shop, "chat_messages", included="3")
    await shop.record("3", feature_type="chat_messages")
    await shop.record("1", status=429, feature_type="chat_messages")
    body = {"requested_amount": "1", "feature_type": "chat_messages"}
    assert (await shop.post("/quota/check", body)).json()["refused_by"] == "plan"
    await end(shop, "chat_messages")
    await shop.record("1", feature_type="chat_messages")
    assert await shown(shop, "chat_messages") == [None] * 3


@pytest.mark.parametrize("beyond", ["block", "overage"])
async def test_a_use_of_before_a_meter_had_a_limit_is_counted_only(
    new_shop: NewShop, beyond: str
) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.record("1", **CHAT)
    await move_clock(shop, hours=2)
    prices = {"USD": "0.01"} if beyond == "overage" else {}
    await agree(shop, "chat_messages", included="0", then=beyond, prices=prices)
    if beyond == "block":
        await shop.record("10", status=429, **CHAT)
    else:
        assert (await shop.record("10", **CHAT))["total_cost"] == "0.10"
    late = (NOW + timedelta(hours=1)).isoformat()
    assert (await shop.record("10", occurred_at=late, **CHAT))["total_cost"] == "0"


async def test_the_list_says_which_limits_are_agreed(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    plan = await sources(shop)
    assert set(plan.values()) == {"plan"}
    await agree(shop, included="60")
    await agree(shop, "chat_messages", included="3")
    later = {"effective_from": "2027-01-10T13:00:00Z"}
    await agree(shop, "document_uploads", included="9", **later)
    now_agreed = {"ai_responses": "agreed", "chat_messages": "agreed"}
    assert await sources(shop) == plan | now_agreed
    await end(shop)
    assert await sources(shop) == plan | {"chat_messages": "agreed"}


async def test_the_end_of_an_agreement_gives_the_plan_s_limit_back(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await agree(shop, included="60")
    await shop.record("55", **AI)
    await move_clock(shop, hours=1)
    ended = await end(shop)
    assert (ended["included"], ended["effective_to"]) == ("60.00", "2027-01-10T13:00:00Z")
    assert await shown(shop) == ["50.00"] * 3
    await shop.record("1", status=429, **AI)
    assert await agreed(shop) == [("ai_responses", "60.00", "2027-01-10T13:00:00Z")]
    assert (await end(shop, status=404))["code"] == "LIMIT_NOT_FOUND"
    told = [("limit.agreed", "meter ai_responses"), ("limit.agreement_ended", "meter ai_responses")]
    assert await audited(shop) == told


async def test_overage_beyond_it_costs_the_agreed_price(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await agree(shop, included="600", then="overage", prices={"USD": "0.005", "EUR": "0.004"})
    done = await shop.record("610", **AI)
    assert (done["billing_status"], done["total_cost"], done["currency"]) == (
        "pending", "0.05", "USD",
    )  # fmt: skip
    assert (await shop.get("/usage/current"))["overages"]["total_overage_cost"] == "0.05"
    limit = (await shop.get("/billing/entitlements/ai_responses"))["limit"]
    assert (limit["then"], limit["prices"]["EUR"]) == ("overage", "0.004")
    await agree(shop, included="600", then="notify")
    assert (await shop.record("10", **AI))["total_cost"] == "0"


@pytest.mark.parametrize(
    ("access", "allowed", "seen"),
    [("full", 201, "10.00"), ("no_new_overage", 429, "10.00"), ("none", 403, None)],
)
async def test_past_due_rules_hold_for_agreed_limits_too(
    new_shop: NewShop, access: str, allowed: int, seen: str | None
) -> None:
    shop = await on_plan(new_shop, "basic")
    await agree(shop, included="10", then="overage", prices={"USD": "0.005"})
    await move(shop, "past_due", await strict(shop, access))
    assert await shown(shop) == [seen] * 3
    await shop.record("11", status=allowed, **AI)
    await move(shop, "unpaid", await strict(shop, access))
    assert (await shown(shop))[:2] == [None, None]
    await shop.record("1", status=403, **AI)


async def test_it_goes_before_the_default_plan_and_the_next_one(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await agree(shop, included="7")
    assert await shown(shop) == ["7.00"] * 3
    await shop.record("8", status=429, **AI)
    await shop.subscribe("basic")
    assert await shown(shop) == ["7.00"] * 3


async def test_a_late_use_of_a_quiet_month_has_the_limit_of_its_time(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at="2027-02-03T12:00:00Z")
    await agree(shop, included="60")
    january = {"occurred_at": "2027-01-20T12:00:00Z"} | AI
    await shop.record("51", status=429, **january)
    await shop.record("50", **january)
    await shop.record("60", **AI)
    await move_clock(shop, days=60)
    await end(shop)
    march = {"occurred_at": "2027-03-20T12:00:00Z"} | AI
    await shop.record("61", status=429, **march)
    await shop.record("60", **march)
    await shop.record("51", status=429, **AI)


async def test_the_same_again_changes_nothing_and_another_takes_its_place(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "free")
    first = await agree(shop, included="60")
    await move_clock(shop, hours=1)
    assert await agree(shop, included="60.0") == first
    assert await audited(shop) == [("limit.agreed", "meter ai_responses")]
    later = {"effective_from": "2027-01-20T00:00:00Z", "effective_to": "2027-01-25T00:00:00Z"}
    planned = await agree(shop, included="70", **later)
    assert await agree(shop, included="70", **later) == planned
    assert await agreed(shop) == [
        ("ai_responses", "70.00", "2027-01-25T00:00:00Z"),
        ("ai_responses", "60.00", "2027-01-20T00:00:00Z"),
    ]
    assert await shown(shop) == ["60.00"] * 3
    await move_clock(shop, days=10)
    assert await agree(shop, included="70", **later) == planned, "also after it began"
    await agree(shop, included="80")
    assert await agreed(shop) == [
        ("ai_responses", "80.00", None),
        ("ai_responses", "70.00", "2027-01-20T13:00:00Z"),
        ("ai_responses", "60.00", "2027-01-20T00:00:00Z"),
    ]
    assert await shown(shop) == ["80.00"] * 3


@pytest.mark.parametrize(
    ("until", "then_from"),
    [("2027-01-15T00:00:00Z", "2027-01-20T00:00:00Z"), ("2027-01-22T00:00:00Z",) * 2],
)
async def test_one_for_a_time_leaves_what_is_agreed_for_later(
    new_shop: NewShop, until: str, then_from: str
) -> None:
    shop = await on_plan(new_shop, "free")
    later = {"effective_from": "2027-01-20T00:00:00Z", "effective_to": "2027-01-25T00:00:00Z"}
    await agree(shop, included="70", **later)
    courtesy = await agree(shop, included="60", effective_to=until)
    assert await agree(shop, included="60", effective_to=until) == courtesy
    assert [(row["included"], row["effective_from"], row["effective_to"])
            for row in (await operate(shop, "GET")).json()["data"]] == [
        ("70.00", then_from, "2027-01-25T00:00:00Z"),
        ("60.00", "2027-01-10T12:00:00Z", until),
    ]  # fmt: skip


async def test_one_agreed_now_is_replaced_for_good_at_the_same_instant(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await agree(shop, included="70")
    await agree(shop, included="60", effective_to="2027-01-20T00:00:00Z")
    assert await agreed(shop) == [("ai_responses", "60.00", "2027-01-20T00:00:00Z")]


async def test_what_was_to_begin_later_ends_without_a_trace(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await agree(shop, included="60", effective_from="2027-01-20T00:00:00Z")
    await end(shop)
    assert await agreed(shop) == []
    await move_clock(shop, days=11)
    await shop.record("51", status=429, **AI)


async def test_advice_reckons_with_what_was_agreed(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await agree(shop, included="10000", then="notify")
    await shop.record("9000", **AI)
    await move_clock(shop, days=25)
    await shop.record("1", **AI)
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["plan"], found["cost"]) == ("free", "0")
    await end(shop)
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert found["plan"] == "pro"


async def test_it_lasts_from_cycle_to_cycle_and_an_upgrade_does_not_end_it(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "free")
    await agree(shop, included="60")
    await move_clock(shop, days=25)
    await shop.record("60", **AI)
    await shop.record("1", status=429, **AI)
    ((basic,),) = await shop.rows("SELECT id FROM plans WHERE key = 'basic' AND is_current")
    await move(shop, "active", basic)
    assert await shown(shop) == ["60.00"] * 3
    assert await shown(shop, "document_uploads") == ["50.00"] * 3


async def test_a_quota_without_a_limit_asks_again_when_a_limit_begins(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    await shop.subscribe("free", start=datetime(2026, 1, 1, tzinfo=UTC),
                         end=datetime(2028, 1, 1, tzinfo=UTC))  # fmt: skip
    await shop.quota("1000", window="cycle")
    chat = {"feature_type": "chat_messages", "requested_amount": "1", "consume": True}

    async def allowed(event: str) -> bool:
        answer = await shop.post("/quota/check", chat | {"event_id": event})
        return bool(answer.json()["allowed"])

    assert [await allowed(f"before-{n}") for n in range(3)] == [True] * 3
    await agree(shop, "chat_messages", included="4")
    assert [await allowed(f"after-{n}") for n in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "included"),
        ({"included": "-1"}, "included"),
        ({"included": True}, "included"),
        ({"included": "5", "then": "shrug"}, "then"),
        (OVERAGE, "prices"),
        (OVERAGE | {"prices": {"EUR": "0.01"}}, "prices"),
        (OVERAGE | {"prices": {"USD": "-0.01"}}, "prices.USD.unit_price"),
        (OVERAGE | {"prices": {"USD": {"model": "package"}}}, "prices.USD"),
        (OVERAGE | {"prices": {"USD": {"model": "volume"}}}, "prices.USD"),
        (OVERAGE | {"prices": {"USD": {"unit_price": "0.0000000000001"}}}, "prices.USD.unit_price"),
        ({"included": "5", "prices": {"USD": "0.01"}}, "prices"),
        ({"included": "5", "effective_from": "2027-01-10T11:59:59Z"}, "effective_from"),
        ({"included": "5", "effective_to": "2027-01-10T12:00:00Z"}, "effective_to"),
        ({"included": "5", "account": "x"}, "account"),
    ],
)
async def test_what_cannot_be_agreed_is_refused_by_its_field(
    new_shop: NewShop, body: dict[str, Any], field: str
) -> None:
    shop = await on_plan(new_shop, "basic")
    answer = await operate(shop, "PUT", "ai_responses", body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "VALIDATION_FAILED"), answer.text
    assert [one["field"] for one in problem["errors"]] == [field]
    assert await agreed(shop) == []


async def test_unknown_meters_and_accounts_and_other_roles_are_refused(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    answer = await operate(shop, "PUT", "no_such_meter", {"included": "5"})
    assert (answer.status_code, answer.json()["code"]) == (404, "METER_NOT_FOUND")
    answer = await operate(shop, "PUT", "Not-a-key", {"included": "5"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "meter")
    nobody = Shop(shop.api, {"id": ids.encode(ids.ACCOUNT, ids.new())})
    for method, body in (("PUT", {"included": "5"}), ("DELETE", None)):
        answer = await operate(nobody, method, "ai_responses", body)
        assert (answer.status_code, answer.json()["code"]) == (404, "MERCHANT_NOT_FOUND")
    path = f"/admin/accounts/{shop.account['id']}/limits"
    answer = await shop.api.client.get(f"{V1}{path}", headers=shop.headers())
    assert answer.json()["code"] == "FORBIDDEN"


async def test_an_account_sees_its_own_agreements_only(new_shop: NewShop) -> None:
    shop, other = await on_plan(new_shop, "free"), await on_plan(new_shop, "free")
    await agree(shop, included="60")
    count = "SELECT count(*) FROM limit_overrides"
    assert (await shop.rows(count), await other.rows(count)) == ([(1,)], [(0,)])


async def test_a_contract_as_the_guide_has_it_holds_at_once_in_real_time(new_shop: NewShop) -> None:
    shop = await new_shop()
    guide = (ROOT / "docs" / "integrate.md").read_text()
    body, _, _ = guide.partition("PUT /admin/accounts/{id}/contract\n")[2].partition("```")
    answer = await shop.api.client.put(
        f"{V1}/admin/accounts/{shop.account['id']}/contract",
        json=json.loads(body), headers=shop.api.admin(),
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert await agreed(shop) == [("ai_responses", "50000.00", None)]
