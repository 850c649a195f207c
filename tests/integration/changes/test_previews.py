"""A preview binds: what it says is what is charged, to the cent, or the change is refused."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import API, Actors, Customer
from tests.integration.arrears.contract_terms import PRICE, agree
from tests.integration.arrears.overage_uses import START, use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, change, lines
from tests.integration.coupons.coupons_made import coupon
from tests.integration.locked import held
from tests.integration.money_seen import charged, money

TABLES = ("invoices", "subscription_changes", "payments", "events", "billing_audit", "steps")


async def preview(customer: Customer, **wanted: Any) -> Any:
    return await customer.ask("POST", f"{PATH}/preview", wanted, status=200)


async def counted(customer: Customer) -> list[int]:
    found = []
    for table in TABLES:
        (row,) = await customer.rows(
            f"SELECT count(*) AS rows FROM {table} WHERE account_id = %(me)s"
        )
        found.append(row["rows"])
    return found


async def test_a_preview_writes_nothing_and_its_token_charges_exactly_it(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    before = await counted(customer)

    seen = await preview(customer, plan="pro")

    assert await counted(customer) == before
    assert (seen["due_now_cents"], seen["credited_cents"], seen["plan"]) == (2032, 0, "pro")
    shown = [(one["kind"], one["total"]) for one in seen["invoice"]["lines"]]
    assert shown == [("proration", -1287), ("plan", 3319)]
    assert (seen["effective_at"], seen["as_of"]) == (LATER, LATER)
    assert seen["upcoming"]["at"] == RENEWAL
    assert seen["upcoming"]["invoice"]["amount_due_cents"] == 4900
    dry = await customer.ask("PUT", f"{PATH}?dry_run=true", {"plan": "pro"}, status=200)
    assert dry["preview_token"], "a dry run binds as its preview does"
    mine = {name: dry[name] for name in ("preview_token", "expires_at")}
    assert dry == seen | mine

    await change(customer, plan="pro", preview_token=seen["preview_token"])

    assert await charged(customer) == [1900, seen["due_now_cents"]]
    assert (await lines(customer))[-1] == shown
    coming = await customer.ask("GET", f"{PATH}/upcoming", status=200)
    assert coming == seen["upcoming"]


async def test_a_preview_waits_for_nobody_who_holds_the_account(actors: Actors) -> None:
    customer = await begun(actors)
    async with held(customer):
        seen = await asyncio.wait_for(preview(customer, plan="pro"), timeout=3)
    assert seen["plan"] == "pro"


async def test_a_token_is_for_what_was_previewed_and_nothing_else(actors: Actors) -> None:
    customer = await begun(actors)
    token = (await preview(customer, plan="pro"))["preview_token"]

    async def stale(**wanted: Any) -> None:
        await customer.refused("PREVIEW_EXPIRED", "PUT", PATH, wanted)

    await stale(plan="enterprise", preview_token=token)
    await stale(plan="pro", preview_token=token[:-2] + "AA")
    await stale(plan="pro", preview_token="ä")
    other = await begun(actors)
    await other.refused("PREVIEW_EXPIRED", "PUT", PATH, {"plan": "pro", "preview_token": token})
    adjusted = await actors.client.post(
        f"{API}/admin/accounts/{customer.id}/balance/adjust",
        json={"amount_cents": 5, "reason": "goodwill"},
        headers=actors.headers("*", "admin", key="goodwill"),
    )
    assert adjusted.is_success, adjusted.text
    await stale(plan="pro", preview_token=token)
    token = (await preview(customer, plan="pro"))["preview_token"]
    await customer.advance(days=1)
    await stale(plan="pro", preview_token=token)
    assert (await customer.subscription())["plan"]["key"] == "basic"
    assert await charged(customer) == [1900]


async def test_every_write_of_a_subscription_can_be_tried(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    before = await counted(customer)

    down = await preview(customer, plan="basic")
    assert (down["due_now_cents"], down["effective_at"]) == (0, RENEWAL)
    assert down["change"] == {"plan": "basic", "interval": "month", "quantity": 1}
    assert down["upcoming"]["invoice"]["total_cents"] == 1900
    now = await preview(customer, plan="basic", at="now")
    assert (now["due_now_cents"], now["credited_cents"]) == (0, 3319 - 1287)
    year = await preview(customer, interval="year")
    assert year["due_now_cents"] == 49000 - 3319
    assert year["upcoming"]["at"] == "2028-01-11T10:00:00Z"
    ended = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", {"at": "now"}, status=200)
    assert (ended["status"], ended["upcoming"]["at"]) == ("canceled", None)
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/resume?dry_run=true", {})
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/reactivate?dry_run=true")

    assert await counted(customer) == before
    await change(customer, plan="basic", at="now", preview_token=now["preview_token"])
    assert await money(customer) == now["credited_cents"]


async def test_a_preview_counts_the_use_that_is_billed_with_it(actors: Actors) -> None:
    for wanted in ({"interval": "year"}, {"plan": "free", "at": "now"}):
        customer = await begun(actors)
        await use(customer, "600")
        await customer.advance(to=LATER)
        seen = await preview(customer, **wanted)
        assert [one["amount"] for one in seen["usage"]["lines"]] == [200]
        before = sum(await charged(customer))
        await change(customer, **wanted, preview_token=seen["preview_token"])
        assert sum(await charged(customer)) == before + seen["due_now_cents"]
        left = seen["credited_cents"] - seen["usage"]["balance_applied_cents"]
        assert await money(customer) == left


async def test_what_comes_next_counts_the_use_of_now(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "510")
    coming = await customer.ask("GET", f"{PATH}/upcoming", status=200)
    assert (coming["step"], coming["at"]) == ("renew", RENEWAL)
    assert coming["invoice"]["total_cents"] == 1920
    await customer.ask("POST", f"{PATH}/cancel", {}, status=200)
    coming = await customer.ask("GET", f"{PATH}/upcoming", status=200)
    assert (coming["step"], coming["invoice"]["total_cents"]) == ("end", 20)


async def test_what_comes_at_the_end_of_a_year_has_no_use_of_a_month_before(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="year")
    await use(customer, "600")
    coming = await customer.ask("GET", f"{PATH}/upcoming", status=200)
    assert coming["invoice"]["amount_due_cents"] == 19000, "its month bills what is used in it"
    gone = {"at": "period_end"}
    dry = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", gone, status=200)
    assert dry["upcoming"]["invoice"] is None
    await customer.advance(days=32)
    assert await charged(customer) == [19000, 200]


async def test_every_write_of_a_subscription_can_be_tried_without_being_done(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    none = await counted(customer)
    code = await coupon(actors, percent="50", duration="forever")
    order = {"plan": "basic", "trial": False, "billing_day": 31, "coupon": code}
    seen = await customer.ask("POST", f"{PATH}?dry_run=true", order, status=200)
    assert (seen["status"], seen["due_now_cents"]) == ("active", 919)
    assert seen["upcoming"]["invoice"]["total_cents"] == 950
    trial = await customer.ask("POST", f"{PATH}?dry_run=true", {"plan": "basic"}, status=200)
    assert (trial["status"], trial["due_now_cents"]) == ("trialing", 0)
    await customer.refused("SUBSCRIPTION_NOT_FOUND", "GET", PATH)
    assert await counted(customer) == none
    await customer.subscribe("pro")
    again = await customer.ask("POST", f"{PATH}?dry_run=true", order, status=200)
    assert again["due_now_cents"] == 919, "one that is not paid gives way"
    customer = await begun(actors)
    told, before = await counted(customer), await customer.subscription()
    await customer.refused("SUBSCRIPTION_EXISTS", "POST", f"{PATH}?dry_run=true", order)
    half = await customer.ask("POST", f"{PATH}/coupon?dry_run=true", {"code": code}, status=200)
    assert half["upcoming"]["invoice"]["total_cents"] == 950
    body = {"payment_method_id": None}
    await customer.ask("PUT", f"{PATH}/payment-method?dry_run=true", body, status=200)
    assert (await counted(customer), await customer.subscription()) == (told, before)
    (planned,) = (await customer.ask("POST", f"{PATH}/pause", status=200))["scheduled_changes"]
    path = f"{PATH}/changes/{planned['change_id']}"
    seen = await customer.ask("DELETE", f"{path}?dry_run=true", status=200)
    assert seen["upcoming"]["step"] == "renew"
    assert (await customer.subscription())["scheduled_changes"] == [planned]


FREE = {"meter": "ai_responses", "included": "50", "then": "overage", "prices": {"USD": "0.01"}}


@pytest.mark.parametrize(
    ("used", "wanted"),
    [
        ("1500", {"plan": "pro"}),
        ("4000", {"plan": "pro"}),
        ("1100", {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}),
        ("1900", {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}),
        ("1500", {"plan": "pro", "at": "period_end"}),
        ("1500", {"plan": "starter", "at": "now"}),
        ("1500", {"interval": "year"}),
    ],
)
async def test_what_comes_next_has_the_use_that_is_beyond_the_new_terms(
    actors: Actors, used: str, wanted: dict[str, Any]
) -> None:
    customer = await begun(actors)
    await use(customer, used)
    await customer.advance(to=LATER)
    before = await counted(customer)
    seen = await preview(customer, **wanted)
    dry = await customer.ask("PUT", f"{PATH}?dry_run=true", wanted, status=200)
    assert dry["upcoming"] == seen["upcoming"]
    assert await counted(customer) == before
    await change(customer, **wanted, preview_token=seen["preview_token"])
    coming = await customer.ask("GET", f"{PATH}/upcoming", status=200)
    assert coming == seen["upcoming"]
    paid = await charged(customer)
    if coming["at"] == RENEWAL:
        await customer.advance(to=RENEWAL)
        assert await charged(customer) == [*paid, coming["invoice"]["amount_due_cents"]]


async def test_a_preview_names_the_limits_of_the_new_plan_that_use_is_over(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await use(customer, "700")
    await customer.ask(
        "POST", "/usage/record", {"feature_type": "storage_gb", "usage_amount": "8"}, status=201
    )

    async def over(**wanted: Any) -> list[tuple[str, ...]]:
        seen = await customer.ask("PUT", f"{PATH}?dry_run=true", wanted, status=200)
        return [tuple(one.values()) for one in seen["over_limits"]]

    answers = ("ai_responses", "700.00", "500.00", "overage")
    assert await over(plan="basic") == [answers]
    assert await over(plan="basic", add_ons=[{"add_on": "ai-500", "quantity": 1}]) == []
    blocked = [
        ("ai_responses", "700.00", "50.00", "block"),
        ("storage_gb", "8.00", "1.00", "block"),
    ]
    assert await over(plan="free") == blocked
    assert await over(plan="enterprise") == []

    path = f"/admin/accounts/{customer.id}/limits/ai_responses"
    await actors.operate("PUT", path, {"included": "1000"})
    assert await over(plan="free") == blocked[1:]


async def test_a_preview_in_a_trial_names_the_limits_that_hold_at_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("pro", trial=True)
    await use(customer, "700")
    seen = await preview(customer, plan="basic")
    (over,) = seen["over_limits"]
    assert (over["meter"], over["used"], over["included"]) == ("ai_responses", "700.00", "500.00")
    assert (await preview(customer, plan="pro"))["over_limits"] == []


async def test_what_comes_next_after_a_plan_without_a_price_has_no_use_of_it(
    actors: Actors,
) -> None:
    free = f"free-{uuid4().hex[:8]}"
    body = {"name": free, "family": free, "limits": [FREE], "prices": {"month": {"USD": 0}}}
    await actors.operate("PUT", f"/admin/plans/{free}", body)
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe(free)
    await use(customer, "600")
    await customer.advance(to=LATER)
    seen = await preview(customer, plan="pro")
    await change(customer, plan="pro", preview_token=seen["preview_token"])
    coming = await customer.ask("GET", f"{PATH}/upcoming", status=200)
    assert coming == seen["upcoming"]
    assert seen["due_now_cents"] == sum(await charged(customer))


async def test_a_minimum_that_comes_next_counts_use_as_the_change_leaves_it(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    least = {"plan": "pro", "interval": "month", "currency": "USD", "amount_cents": 4900}
    await agree(customer, prices=[PRICE, least | {"minimum_cents": 9000}])
    await customer.subscribed("basic")
    await use(customer, "700")
    await customer.advance(to=LATER)
    seen = await preview(customer, plan="pro")
    kinds = [one["kind"] for one in seen["upcoming"]["invoice"]["lines"]]
    assert kinds == ["plan", "minimum"], "700 are within what is included then"
    await change(customer, plan="pro", preview_token=seen["preview_token"])
    assert await customer.ask("GET", f"{PATH}/upcoming", status=200) == seen["upcoming"]


async def test_what_a_trial_used_is_priced_by_the_plan_that_it_changes_to(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic", trial=True)
    await use(customer, "1500")
    seen = await preview(customer, plan="pro")
    assert seen["upcoming"]["invoice"]["total_cents"] == 4900
    await change(customer, plan="pro", preview_token=seen["preview_token"])
    assert await customer.ask("GET", f"{PATH}/upcoming", status=200) == seen["upcoming"]


async def test_the_end_that_staying_unpaid_brings_comes_before_the_period_s(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    seen: Any = None
    for day, step, at in (("03-09", "renew", "03-31"), ("05-01", "end_unpaid", "05-07")):
        await customer.advance(to=f"2027-{day}T10:00:00Z")
        seen = await customer.ask("GET", f"{PATH}/upcoming", status=200)
        assert (seen["step"], seen["at"][:10]) == (step, f"2027-{at}")
    assert seen["invoice"] is None
