"""Another plan: up is charged first and counts at once, down comes with the next period."""

from decimal import Decimal

import pytest

from tests.integration.actors import Actors, Json, wait_for
from tests.integration.arrears.chosen_add_ons import choose, included
from tests.integration.arrears.overage_uses import START, records, use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, change, lines, told
from tests.integration.money_seen import charged, money


async def test_up_charges_the_rest_of_the_period_and_counts_at_once(actors: Actors) -> None:
    customer = await begun(actors)
    assert (await use(customer, "700"))["total_cost"] == "4.00"
    await customer.advance(to=LATER)

    changed = await change(customer, plan="pro")

    assert (changed["plan"]["key"], changed["amount_cents"]) == ("pro", 4900)
    assert changed["current_period_end"] == RENEWAL, "the period stays"
    assert await charged(customer) == [1900, 3319 - 1287]
    assert (await lines(customer))[1] == [("proration", -1287), ("plan", 3319)]
    # 500 and 21 of 31 days of 4500 more.
    assert await included(customer) == ("3548", "3548.00")
    assert await records(customer) == [], "what was beyond the plan before is included now"
    assert await customer.credits() == Decimal("100") + Decimal("270.967742")
    events = await customer.published()
    assert (await change(customer, plan="pro"))["updated_at"] == changed["updated_at"]
    assert await customer.published() == events, "the same again changes nothing"

    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 2032, 4900]
    assert await customer.credits() == 500


async def test_up_that_the_card_declines_leaves_all_as_it_was(actors: Actors) -> None:
    customer = await begun(actors)
    before = await customer.subscription()
    await customer.script("insufficient_funds", then="normal")
    await customer.refused("CARD_DECLINED", "PUT", PATH, {"plan": "pro"}, key="a")
    after = await customer.subscription()
    assert after == before | {"updated_at": after["updated_at"]}
    assert [one["status"] for one in await customer.invoices()] == ["paid", "void"]
    (listed,) = (await customer.ask("GET", f"{PATH}/changes"))["data"]
    assert (listed["kind"], listed["status"]) == ("plan", "failed")
    assert listed["wanted"] == {"plan": "pro", "interval": "month", "quantity": 1}


async def test_up_waits_for_its_payer_and_comes_with_the_money(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    await customer.script("authentication_required", then="normal")
    waits = await change(customer, plan="pro", interval="year")
    assert (waits["plan"]["key"], waits["pending_change"]["kind"]) == ("basic", "plan")
    (begins,) = await told(customer, "subscription.change_begun")
    assert (begins["plan"], begins["wanted"]) == ("basic", waits["pending_change"]["wanted"])
    assert (begins["amount_cents"], begins["currency"]) == (49000 - 1287, "USD")
    path = f"{PATH}/changes/{waits['pending_change']['change_id']}"
    refused = await customer.refused("CHANGE_NOT_SCHEDULED", "DELETE", path)
    assert refused["detail"] == "the change waits for its payment"
    assert (await included(customer))[1] == "500.00"
    await customer.refused("CHANGE_PENDING", "PUT", PATH, {"plan": "enterprise"})
    await use(customer, "600")

    await customer.pay(waits)
    given = await wait_for(
        customer.subscription, "it is given", lambda seen: seen["plan"]["key"] == "pro"
    )

    assert (given["interval"], given["amount_cents"]) == ("year", 49000)
    assert given["current_period_start"] == LATER
    assert given["current_period_end"] == "2028-01-11T10:00:00Z"
    assert given["cycle_end"] == "2027-02-11T10:00:00Z"
    await customer.advance(days=1)
    # The cycle before is closed: its use beyond the plan is billed, and all that was credited of it
    # is, for it was used while the change waited: its credits stay.
    assert await charged(customer) == [1900, 49000 - 1287, 1287 + 200]
    assert await customer.credits() == Decimal(100 + 500)


@pytest.mark.parametrize("end", [{}, {"cancel_at": "2027-01-20T10:00:00Z"}])
async def test_an_end_that_was_asked_for_drops_a_change_that_waits(
    actors: Actors, end: Json
) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    await customer.script("authentication_required", then="normal")
    waits = await change(customer, plan="pro", interval="year")

    ends = await customer.ask("POST", f"{PATH}/cancel", end, status=200)

    assert ends["pending_change"] is None
    assert [one["status"] for one in await customer.invoices()] == ["paid", "void"]
    await customer.confirm(waits)
    await customer.advance(days=1)
    after = await customer.subscription()
    assert (after["plan"]["key"], after["current_period_end"]) == ("basic", RENEWAL)
    assert await charged(customer) == [1900]


async def test_down_comes_with_the_next_period_and_can_be_called_off(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    planned = await change(customer, plan="basic")
    scheduled = planned["scheduled_changes"][0]
    assert (planned["plan"]["key"], scheduled["wanted"]["plan"]) == ("pro", "basic")
    assert scheduled["effective_at"] == RENEWAL
    (comes,) = await told(customer, "subscription.change_scheduled")
    assert (comes["plan"], comes["wanted"]) == ("pro", scheduled["wanted"]), "it is pro until then"
    path = f"{PATH}/changes/{scheduled['change_id']}"
    assert (await customer.ask("DELETE", path, status=200))["status"] == "canceled"
    assert (await customer.ask("DELETE", path, status=200))["status"] == "canceled"
    assert (await customer.subscription())["scheduled_changes"] == []
    await customer.refused("CHANGE_NOT_FOUND", "DELETE", f"{PATH}/changes/chg_none")
    await change(customer, plan="basic", interval="year", at="period_end")
    await change(customer, plan="basic")
    assert await charged(customer) == [4900]
    future = (await customer.ask("GET", "/billing/timeline"))["future"]
    assert next(one for one in future if one["name"] == "renew")["amount_cents"] == 1900

    await customer.advance(to=RENEWAL)

    after = await customer.subscription()
    assert (after["plan"]["key"], after["scheduled_changes"]) == ("basic", [])
    assert await charged(customer) == [4900, 1900]
    assert await included(customer) == ("500.00", "500.00")
    assert await customer.credits() == 100
    listed = (await customer.ask("GET", f"{PATH}/changes"))["data"]
    assert [one["status"] for one in listed] == ["applied", "canceled", "canceled"]
    refused = f"{PATH}/changes/{listed[0]['change_id']}"
    await customer.refused("CHANGE_NOT_SCHEDULED", "DELETE", refused)


async def test_down_now_gives_the_rest_to_the_balance_and_takes_credits_back(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)

    changed = await change(customer, plan="basic", at="now")

    assert changed["plan"]["key"] == "basic"
    assert await charged(customer) == [4900]
    assert (await lines(customer))[1] == [("proration", -1287), ("plan", 1287)]
    assert await money(customer) == 3319 - 1287
    assert await customer.credits() == Decimal(500) - Decimal("270.967742")
    (up,) = [await change(customer, plan="pro")]
    assert up["plan"]["key"] == "pro"
    assert await money(customer) == 0, "to and fro costs and brings nothing"
    assert await customer.credits() == 500
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [4900, 4900]


async def test_down_now_waits_where_its_credits_are_spent(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("POST", "/billing/credits/holds", {"amount": "450"})
    wish = {"plan": "basic", "at": "now"}
    await customer.refused("CREDITS_SPENT", "PUT", PATH, wish)
    assert (await change(customer, plan="basic"))["scheduled_changes"]


async def test_a_trial_has_another_plan_and_keeps_its_end(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    trial = await customer.subscribe("basic", trial=True)
    await customer.save_card()
    changed = await change(customer, plan="pro")
    assert (changed["plan"]["key"], changed["status"]) == ("pro", "trialing")
    assert changed["trial_end"] == trial["trial_end"]
    assert (await included(customer))[1] == "5000.00"
    assert await customer.credits() == 100, "nothing is granted by it"
    down = await change(customer, plan="basic")
    assert (down["plan"]["key"], down["scheduled_changes"]) == ("basic", [])
    without = await change(customer, plan="free")
    assert (without["plan"]["key"], len(without["scheduled_changes"])) == ("basic", 1)
    await customer.refused("TRIAL_NOT_OFFERED", "PUT", PATH, {"plan": "enterprise"})
    await change(customer, plan="enterprise", at="period_end")
    await customer.advance(days=14)
    assert await charged(customer) == [49900]
    assert (await customer.subscription())["plan"]["key"] == "enterprise"


async def test_what_is_not_sold_so_is_refused(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.refused("PLAN_NOT_FOUND", "PUT", PATH, {"plan": "no-such-plan"})
    await customer.refused("INTERVAL_NOT_OFFERED", "PUT", PATH, {"interval": "week"})
    await customer.refused("QUANTITY_NOT_OFFERED", "PUT", PATH, {"quantity": 2})
    await customer.refused("VALIDATION_FAILED", "PUT", PATH, {})
    await customer.refused("VALIDATION_FAILED", "PUT", PATH, {"at": "now"})
    more = {"plan": "pro", "add_ons": [{"add_on": "no-such-add-on"}]}
    await customer.refused("ADD_ON_NOT_FOUND", "PUT", PATH, more)


async def test_an_add_on_that_the_new_plan_has_not_ends_with_the_period(actors: Actors) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    changed = await change(customer, plan="pro")
    assert changed["add_ons"][0]["quantity_next_period"] == 0
    assert (await included(customer))[1] == "5500.00"
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 700, 3000, 4900]


async def test_an_add_on_that_ends_with_the_period_does_so_though_it_is_named(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    await change(customer, plan="pro")
    before = await told(customer, "subscription.add_ons_chosen")
    more = {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}
    await customer.refused("ADD_ON_NOT_FOUND", "PUT", PATH, more)
    named = await choose(customer, ai_500=1)
    assert [one["quantity_next_period"] for one in named["add_ons"]] == [0]
    assert await told(customer, "subscription.add_ons_chosen") == before
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 700, 3000, 4900]


async def test_a_plan_and_its_add_ons_are_one_change(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    wish = {"plan": "basic", "at": "now", "add_ons": [{"add_on": "ai-500", "quantity": 2}]}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    # 21 of 31 days: of 4900 are 3319 left; 1287 of 1900 and 948 of 1400 are charged.
    shown = [(one["kind"], one["total"]) for one in seen["invoice"]["lines"]]
    assert shown == [("proration", -2235), ("plan", 1287), ("add_on", 948)]
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 1084)
    assert seen["upcoming"]["invoice"]["total_cents"] == 1900 + 1400

    changed = await change(customer, **wish, preview_token=seen["preview_token"])

    assert (changed["plan"]["key"], changed["add_ons"][0]["quantity"]) == ("basic", 2)
    assert (await lines(customer))[-1] == shown
    assert await money(customer) == 1084
    # 10 of 31 days of 5000, 21 of 500 and 1000 more.
    assert await included(customer) == ("2629", "2629.00")
    (planned,) = (await change(customer, plan="pro", at="period_end", add_ons=[]))[
        "scheduled_changes"
    ]
    wanted = {"plan": "pro", "interval": "month", "quantity": 1, "add_ons": {}}
    assert planned["wanted"] == wanted
    await customer.advance(to=RENEWAL)
    assert (await lines(customer))[-1] == [("plan", 4900)]
    assert (await customer.subscription())["add_ons"] == []


async def test_another_interval_gives_back_what_is_not_used_of_add_ons(actors: Actors) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    await customer.advance(to=LATER)
    changed = await change(customer, interval="year")
    assert changed["add_ons"] == []
    # 700 x 21/31 = 474.19
    assert await charged(customer) == [1900, 700, 19000 - 1287 - 474]


async def test_one_invoice_that_charged_plan_and_add_on_is_credited_for_both(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    await customer.advance(to=RENEWAL)
    await customer.advance(days=14)
    await change(customer, plan="free", at="now")
    assert await money(customer) == (1900 + 700) // 2


async def test_a_change_is_decided_while_the_renewal_is_at_the_bank(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.script("processing")
    await customer.advance(to=RENEWAL)
    same, down, up = [await change(customer, plan=plan) for plan in ("pro", "basic", "enterprise")]
    assert same["next_action"]["type"] == "wait", "for the money of the renewal"
    assert [one["kind"] for one in down["scheduled_changes"]] == ["plan"]
    assert up["plan"]["key"] == "enterprise"


async def test_a_cycle_that_is_used_is_not_followed_by_another_in_its_first_second(
    actors: Actors,
) -> None:
    """Both would have one allowance, and be charged."""
    customer = await begun(actors)
    await use(customer, "500")
    for path in (PATH, f"{PATH}?dry_run=true"):
        await customer.refused("SUBSCRIPTION_STATE", "PUT", path, {"interval": "year"})
    assert await charged(customer) == [1900]

    await customer.advance(to="2027-01-01T10:00:01Z")
    await change(customer, interval="year")

    assert (await use(customer, "500"))["total_cost"] == "0", "a new cycle has its own"
    await customer.refused("SUBSCRIPTION_STATE", "PUT", PATH, {"interval": "month", "at": "now"})
