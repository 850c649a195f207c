"""No right, no use: entitlements, check, claim, record, batch and hold agree in every state."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any, Final, get_args

import pytest
from sqlalchemy import text

from billing.catalog.plans import service as catalog
from billing.core.errors import NotAllowed
from billing.metering.quotas import service as quotas
from billing.metering.quotas.schemas import Asked
from billing.metering.usage import sql_batch as calls
from billing.metering.usage.schemas import Use, UseKind
from billing.money.subscriptions import entitlements
from billing.money.subscriptions.states import State
from tests.integration.catalog.subscribing import END, change
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock
from tests.integration.usage.test_agreed_limits import agree, move, strict

NOW: Final = datetime(2027, 1, 10, 12, tzinfo=UTC)
AI: Final[dict[str, Any]] = {"feature_type": "ai_responses"}
CHAT: Final[dict[str, Any]] = {"feature_type": "chat_messages"}
POLICIES: Final = ("full", "no_new_overage", "none")
CASES: Final = [
    *product(("past_due",), POLICIES),
    *((state, "full") for state in get_args(State) if state != "past_due"),
    (None, "full"),
]
"""Every state of a subscription, past due by every policy, and an account without one."""


async def shop_in(new_shop: NewShop, state: str | None, policy: str = "full") -> Shop:
    """A shop with credits whose subscription to basic is in a state; None: it never had one."""
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    if state is not None:
        await shop.subscribe("basic")
        await move(shop, state, await strict(shop, policy))
    return shop


def why_not(state: str | None, policy: str) -> str | None:
    """The reason for which such a shop's plan gives nothing."""
    nothing = state in ("incomplete", "unpaid", "paused")
    return state if nothing or (state == "past_due" and policy == "none") else None


async def verdicts(shop: Shop, meter: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    """The answer of each way in to one use that only a plan would pay."""
    asked = {"requested_amount": "1"} | meter
    use = {"usage_amount": "1"} | meter
    name = meter["feature_type"]
    claim = {"consume": True, "event_id": f"claim-{name}"}
    (row,) = (await shop.batch(use | {"event_id": f"row-{name}"}))["results"]
    answers = {
        "check": await shop.post("/quota/check", asked),
        "claim": await shop.post("/quota/check", asked | claim),
        "record": await shop.post("/usage/record", use),
        "record by plan": await shop.post(
            "/usage/record", use | {"billing_method": "subscription_included"}
        ),
        "hold": await shop.post(
            "/billing/credits/holds", {"amount": "1", "scope": name},
            **{"Idempotency-Key": f"hold-{name}"},
        ),
    }  # fmt: skip
    said: dict[str, tuple[Any, ...]] = {
        way: (body["access"], body["reason"])
        if (body := answer.json()).get("code") == "NO_ENTITLEMENT"
        else (answer.status_code, body.get("code"))
        for way, answer in answers.items()
    }
    return said | {"batch": (row["status"], row.get("code"))}


@pytest.mark.parametrize(("state", "policy"), CASES)
async def test_all_ways_agree_in_every_state(
    new_shop: NewShop, state: str | None, policy: str
) -> None:
    shop = await shop_in(new_shop, state, policy)
    reason = why_not(state, policy)
    told = await shop.get("/billing/entitlements")
    assert (told["access"] == "none") is (reason is not None)
    assert told["reason"] == (reason or (None if told["access"] == "full" else state))
    for feature in ("ai_responses", "chat_messages"):
        one = await shop.get(f"/billing/entitlements/{feature}")
        assert one["granted"] is (reason is None)
    for meter in (AI, CHAT):
        said = await verdicts(shop, meter)
        assert said.pop("batch") == (
            ("rejected", "NO_ENTITLEMENT") if reason else ("recorded", None)
        )
        if reason:
            assert set(said.values()) == {("none", reason)}, said
        else:
            assert {way: code for way, (code, _) in said.items()} == {
                "check": 200, "claim": 200, "record": 201, "record by plan": 201, "hold": 201,
            }  # fmt: skip
    limits = {one["meter"] for one in await shop.limits()}
    assert ("ai_responses" in limits) is (reason is None)


async def test_a_meter_is_granted_where_a_use_of_it_is_allowed(new_shop: NewShop) -> None:
    shop = await shop_in(new_shop, "active")
    price = {"prices": {"USD": "0.01"}}
    for terms, granted in (
        ({"included": "0", "then": "block"}, False),
        ({"included": "0", "then": "overage"} | price, True),
        ({"included": "0", "then": "notify"}, True),
        ({"included": "1", "then": "block"}, True),
    ):
        await agree(shop, **terms)
        one = await shop.get("/billing/entitlements/ai_responses")
        assert one["granted"] is granted, terms
        asked = await shop.post("/quota/check", AI | {"requested_amount": "1"})
        assert asked.json()["allowed"] is granted, terms


@pytest.mark.parametrize("state", ["unpaid", "incomplete", "paused", "canceled"])
async def test_what_credits_pay_goes_on(new_shop: NewShop, state: str) -> None:
    shop = await shop_in(new_shop, state)
    assert (await shop.record())["total_cost"] == "2.00"
    assert (await shop.record(product_id="gpt-4-mini"))["is_free_tier"]
    stored = await shop.record("3", product_id="storage", billing_method="wallet_deduction")
    assert stored["billing_method"] == "wallet_deduction"
    held = await shop.post("/billing/credits/holds", {"amount": "2", "scope": "model_inference"})
    assert held.status_code == 201, held.text
    assert (await shop.record(hold_id=held.json()["hold_id"]))["total_cost"] == "2.00"
    asked = {"requested_amount": "5", "product_id": "gpt-4"}
    assert (await shop.post("/quota/check", asked)).json()["allowed"]


async def test_a_use_that_only_a_plan_pays_cannot_take_a_hold_instead(new_shop: NewShop) -> None:
    shop = await shop_in(new_shop, "unpaid")
    held = (await shop.post("/billing/credits/holds", {"amount": "2"})).json()["hold_id"]
    refused = await shop.record("1", status=403, hold_id=held, **AI)
    assert (refused["code"], refused["reason"]) == ("NO_ENTITLEMENT", "unpaid")
    assert (await shop.get(f"/billing/credits/holds/{held}"))["status"] == "open"


async def test_what_was_granted_before_the_right_ended_is_answered_again(new_shop: NewShop) -> None:
    shop = await shop_in(new_shop, "active")
    hold = {"amount": "8", "scope": "ai_responses"}
    claim = AI | {"requested_amount": "1", "consume": True, "event_id": "job"}
    first = await shop.post("/billing/credits/holds", hold, **{"Idempotency-Key": "h"})
    assert (await shop.post("/quota/check", claim)).json()["allowed"]
    await move(shop, "paused", await strict(shop, "full"))
    again = await shop.post("/billing/credits/holds", hold, **{"Idempotency-Key": "h"})
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await shop.post("/quota/check", claim)).json()["allowed"]
    new = await shop.post("/billing/credits/holds", hold, **{"Idempotency-Key": "new"})
    assert new.json()["code"] == "NO_ENTITLEMENT"
    new = await shop.post("/quota/check", claim | {"event_id": "new"})
    assert new.json()["code"] == "NO_ENTITLEMENT"
    more = await shop.post("/quota/check", claim | {"requested_amount": "2"})
    assert (more.status_code, more.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_late_use_cannot_fall_before_all_limits(new_shop: NewShop) -> None:
    shop = await shop_in(new_shop, None)
    await shop.record("1", **AI)
    before = (NOW - timedelta(days=20)).isoformat()
    await shop.record("1", occurred_at=before, **AI)
    ((limits, plan),) = await shop.rows(
        "SELECT limits -> 'ai_responses' ->> 'included', plan_id = plan_by_default()"
        " FROM usage_periods WHERE account_id = :id ORDER BY start_at LIMIT 1"
    )
    assert (limits, plan) == ("50.00", True)


async def test_the_default_plan_gives_its_limits_by_the_calendar_month(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat(), zone="Asia/Kolkata")
    told = await shop.get("/billing/entitlements")
    assert (told["plan"], told["access"], told["subscription_status"]) == ("free", "full", None)
    seen = await shop.get("/usage/current")
    assert seen["meters"]["ai_responses"]["remaining"] == "50.00"
    assert seen["period_end"] == "2027-01-31T18:30:00Z"
    await shop.record("50", **AI)
    refused = await shop.record("1", status=429, **AI)
    assert (refused["code"], refused["refused_by"]) == ("QUOTA_EXCEEDED", "plan")
    assert refused["resets_at"] == "2027-01-31T18:30:00Z"
    await move_clock(shop, days=22)
    await shop.record("50", **AI)
    await shop.record("1", status=429, **AI)


async def test_a_new_subscription_to_a_free_plan_does_not_renew_the_month(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    for used in ("20", "30"):
        await shop.record(used, **AI)
        answer = await shop.post("/billing/subscription", {"plan": "free"})
        assert answer.json()["status"] == "active", answer.text
        check = (await shop.post("/quota/check", {"requested_amount": "31"} | AI)).json()
        assert (check["allowed"], check["limit"]) == (False, "50.00")
        answer = await shop.post("/billing/subscription/cancel", {"at": "now"})
        assert answer.status_code == 200, answer.text
        await move_clock(shop, hours=1)
    for _ in range(2):
        refused = await shop.record("1", status=429, **AI)
        assert (refused["limit"], refused["used"]) == ("50.00", "50.00")
        (limit,) = [x for x in await shop.limits() if x["meter"] == "ai_responses"]
        assert (limit["used"], limit["remaining"]) == ("50.00", "0")
        await shop.post("/billing/subscription", {"plan": "free"})
    await move_clock(shop, days=25)
    await shop.record("50", **AI)
    await shop.record("1", status=429, **AI)


async def test_what_was_used_under_another_plan_counts_under_the_default_one(
    new_shop: NewShop,
) -> None:
    shop = await shop_in(new_shop, "active")
    await shop.record("30", **AI)
    await move(shop, "canceled", await strict(shop, "full"))
    await shop.record("21", status=429, **AI)
    await shop.record("20", **AI)


async def test_free_units_of_a_product_are_offered_as_they_are_recorded(new_shop: NewShop) -> None:
    shop = await shop_in(new_shop, "unpaid")
    use = {"product_id": "gpt-4-mini", "usage_amount": "10"}
    quote = (await shop.post("/billing/calculate", use)).json()
    assert (quote["total_cost"], quote["suggested_billing_method"]) == ("0", "wallet_deduction")
    for method in quote["available_billing_methods"]:
        await shop.record("10", product_id="gpt-4-mini", billing_method=method)
    by_plan = use | {"billing_method": "subscription_included"}
    refused = await shop.post("/usage/record", by_plan)
    assert refused.json()["code"] == "NO_ENTITLEMENT"
    asked = {"product_id": "gpt-4-mini", "requested_amount": "10"}
    for more in ({}, {"billing_method": "wallet_deduction"}):
        assert (await shop.post("/quota/check", asked | more)).json()["allowed"]
    by_plan = asked | {"billing_method": "subscription_included"}
    assert (await shop.post("/quota/check", by_plan)).json()["code"] == "NO_ENTITLEMENT"


async def test_without_a_default_plan_nothing_is_given(new_shop: NewShop) -> None:
    """In a transaction that is undone: the default plan is everybody's."""
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.record("1", **AI)
    kind = UseKind(None, None, "ai_responses", None, None, None, defer=False)
    asked = Asked(amount=Decimal(1), feature_type="ai_responses")
    async with shop.api.database.operator() as connection:
        for default, given in ((None, False), ("free", True)):
            await catalog.put_default(connection, default)
            done = await calls.record(connection, [Use(shop.id, kind, "1")], [1])
            assert done.answers[0].verdict == ("recorded" if given else "NO_ENTITLEMENT")
            told = await entitlements.of_account(connection, shop.id)
            assert (told.access, told.reason) == (
                ("full", None) if given else ("none", "no_subscription")
            )
            if given:
                assert (await quotas.check(connection, shop.id, asked)).allowed
                continue
            with pytest.raises(NotAllowed) as refused:
                await quotas.check(connection, shop.id, asked)
            assert refused.value.fields["reason"] == "no_subscription"
        await connection.rollback()


async def test_a_period_of_the_release_before_gives_what_the_account_has_now(
    new_shop: NewShop,
) -> None:
    shop = await shop_in(new_shop, "unpaid")
    async with shop.api.database.tenant(shop.id) as connection:
        await connection.execute(
            text("UPDATE usage_periods SET plan_id = NULL, no_entitlement = NULL, limits = '{}'")
        )
    asked = await shop.post("/quota/check", {"requested_amount": "1"} | AI)
    assert asked.status_code == 403
    await shop.record("1", status=403, **AI)


async def test_a_check_by_a_service_whose_products_have_prices_asks_of_limits_alone(
    new_shop: NewShop,
) -> None:
    """The credits of the account pay the use that it is asked for."""
    shop = await shop_in(new_shop, "unpaid")
    asked = {"service_type": "model_inference", "requested_amount": "1000", "user_id": "ann"}
    assert (await shop.post("/quota/check", asked)).json()["allowed"]
    await shop.record("1000", service_type="model_inference", product_id="gpt-4")


@pytest.mark.parametrize("is_done", [False, True], ids=["no step has run", "ended"])
async def test_an_end_without_a_default_plan_ends_every_right(
    new_shop: NewShop, is_done: bool
) -> None:
    """In a transaction that is undone, too. What was used before the end is the plan's."""
    shop = await shop_in(new_shop, "active")
    await shop.record("1", **AI)
    kind = UseKind(None, None, "ai_responses", None, None, None, defer=False)
    asked = Asked(amount=Decimal(1), feature_type="ai_responses")
    async with shop.api.database.operator() as connection:
        await catalog.put_default(connection, None)
        await change(connection, shop.id, cancel_at_period_end=True, updated_at=NOW)
        assert (await quotas.check(connection, shop.id, asked)).allowed
        after = {"at": END + timedelta(days=1), "id": shop.id}
        await connection.execute(text("UPDATE accounts SET clock_at = :at WHERE id = :id"), after)
        if is_done:
            await change(connection, shop.id, status="canceled", ended_at=END, updated_at=END)
        late = Use(shop.id, kind, "1", at=END - timedelta(hours=1))
        done = await calls.record(connection, [Use(shop.id, kind, "1"), late], [1, 2])
        assert [one.verdict for one in done.answers.values()] == ["NO_ENTITLEMENT", "recorded"]
        told = await entitlements.of_account(connection, shop.id)
        assert (told.access, told.reason, told.plan) == ("none", "no_subscription", None)
        with pytest.raises(NotAllowed) as refused:
            await quotas.check(connection, shop.id, asked)
        assert refused.value.fields["reason"] == "no_subscription"
        await connection.rollback()
