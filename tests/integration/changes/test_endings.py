"""An end now, with or without a credit for what is paid and not used."""

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Json
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.overage_uses import START, use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, change
from tests.integration.coupons.coupons_made import coupon
from tests.integration.money_seen import charged, money
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for, refunded

NOW = {"at": "now", "refund": "credit"}
PERIOD = """
    SELECT current_period_start AS begins, current_period_end AS ends, cycle_end AS cycle_ends
    FROM subscriptions WHERE account_id = %(me)s
"""


async def test_an_end_now_gives_the_rest_to_the_balance_if_it_is_asked_for(actors: Actors) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    await use(customer, "1100")
    await customer.advance(to=LATER)
    await change(customer, plan="pro")
    paid = await charged(customer)
    await customer.refused("VALIDATION_FAILED", "POST", f"{PATH}/cancel", {"refund": "credit"})
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)

    ended = await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)

    assert ended["status"] == "canceled"
    # Of 4,048 answers 2,948 are left: so much of a month in which plan and add-on have 5,500.
    assert seen["credited_cents"] == 2626 + 375
    assert await money(customer) == seen["credited_cents"]
    assert await customer.credits() == Decimal("370.967742") - Decimal("267.999925")
    assert await charged(customer) == paid


async def test_a_change_that_waits_for_its_payer_takes_nothing_of_an_end(actors: Actors) -> None:
    customer = await begun(actors)
    await change(customer, plan="pro", payment_method="card")
    ended = await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert (ended["status"], await money(customer)) == ("canceled", 1900)


async def test_an_end_now_gives_nothing_back_unasked_or_where_credits_are_spent(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("POST", "/billing/credits/holds", {"amount": "450"})
    refused = await customer.refused("CREDITS_SPENT", "POST", f"{PATH}/cancel", NOW)
    assert refused["detail"] == (
        "the plan's credits are already spent; cancel at period_end, or now without a refund"
    )
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    assert await money(customer) == 0


async def test_an_end_at_a_date_bills_the_last_period_up_to_it(actors: Actors) -> None:
    customer = await begun(actors)
    date = {"cancel_at": "2027-02-11T10:00:00Z", "reason": "unused"}
    await customer.refused(
        "VALIDATION_FAILED", "POST", f"{PATH}/cancel", {"cancel_at": "2026-12-31T10:00:00Z"}
    )
    await customer.refused("VALIDATION_FAILED", "POST", f"{PATH}/cancel", date | {"at": "now"})
    ends = await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    assert (ends["cancel_at"], ends["cancel_at_period_end"]) == (date["cancel_at"], False)
    # 10 of the 28 days of February.
    coming = await customer.ask("GET", f"{PATH}/upcoming")
    assert (coming["step"], coming["invoice"]["total_cents"]) == ("renew", 679)
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 679]
    assert await customer.credits() == Decimal("35.714286")
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.advance(to=date["cancel_at"])
    again = await customer.subscription()
    assert (again["status"], again["current_period_end"]) == ("active", "2027-03-01T10:00:00Z")
    assert await charged(customer) == [1900, 679, 1221], "the rest of the same month"
    assert await customer.credits() == Decimal("64.285714")

    await customer.ask("POST", f"{PATH}/cancel", {"cancel_at": "2027-02-20T10:00:00Z"}, status=200)
    await customer.advance(to="2027-02-20T10:00:00Z")

    ended = await customer.subscription()
    assert (ended["status"], ended["ended_at"]) == ("canceled", "2027-02-20T10:00:00Z")
    assert await charged(customer) == [1900, 679, 1221]


async def test_an_amount_off_every_period_is_off_both_pieces_of_one_together(
    actors: Actors,
) -> None:
    code = await coupon(actors, amounts={"USD": 3000}, duration="forever")
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro", coupon=code)
    date = {"cancel_at": "2027-02-11T10:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    await customer.advance(to=RENEWAL)
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.advance(to=date["cancel_at"])
    # 10 and 18 of the 28 days of February, each of 49.00 and of 30.00.
    assert await charged(customer) == [1900, 1750 - 1071, 3150 - 1929]


async def test_credits_that_a_refund_took_are_not_asked_for_again_by_an_end(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await refunded(customer, await paid_for(customer), 2450)
    assert await customer.credits() == 250
    ended = await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert ended["status"] == "canceled"
    assert await money(customer) == 2450
    assert await customer.credits() == 0


async def test_of_the_credits_for_the_rest_those_that_a_refund_took_are_not_asked_for(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await refunded(customer, await paid_for(customer), 2450)
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("POST", "/billing/credits/holds", {"amount": "100"})
    ended = await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert ended["status"] == "canceled"
    # Half of the month had 250, of which the refund took half; 100 are held.
    assert await customer.credits() == 500 - 250 - 125


async def test_credits_of_a_dispute_that_was_won_are_asked_for_like_any(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    assert await customer.credits() == 0
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")
    assert await customer.credits() == 500
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await customer.credits() == 250


async def test_money_of_a_year_that_went_back_brings_no_more_credits(actors: Actors) -> None:
    customer = await begun(actors, "pro", interval="year")
    await customer.advance(to=RENEWAL)
    payment = await paid_for(customer)
    await refunded(customer, payment, 100)
    kept = await customer.credits()
    assert 498 < kept < 499
    await refunded(customer, payment, keep_subscription=True)
    assert await customer.credits() == 0, "those of the month that runs"
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert (await customer.subscription())["status"] == "active"
    assert await customer.credits() == 0


async def test_an_end_with_the_period_takes_away_what_was_to_come_after_it(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await change(customer, plan="basic")
    await change(customer, add_ons=[])
    ends = await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    assert ends["scheduled_changes"] == []
    (listed,) = (await customer.ask("GET", f"{PATH}/changes"))["data"]
    assert listed["status"] == "canceled"
    for wish in ({"plan": "basic"}, {"plan": "basic", "at": "period_end"}):
        refused = await customer.refused("SUBSCRIPTION_STATE", "PUT", PATH, wish)
        assert "reactivate" in refused["detail"]
        await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/preview", wish)
    await change(customer, plan="basic", at="now")

    back = await customer.ask("POST", f"{PATH}/reactivate", status=200)
    assert (back["plan"]["key"], back["scheduled_changes"]) == ("basic", [])
    planned = await change(customer, plan="pro", at="period_end")
    assert len(planned["scheduled_changes"]) == 1
    date = {"cancel_at": "2027-02-11T10:00:00Z"}
    ends = await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    assert len(ends["scheduled_changes"]) == 1, "a period comes before the end"
    date = {"cancel_at": "2027-01-11T10:00:00Z"}
    ends = await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    assert ends["scheduled_changes"] == []
    more: dict[str, object] = {"add_ons": [{"add_on": "ai-500", "quantity": 1}]}
    later = more | {"at": "period_end"}
    await customer.refused("SUBSCRIPTION_STATE", "PUT", PATH, later)
    before = await charged(customer)
    at_once: tuple[dict[str, object], ...] = ({"plan": "pro"}, more | {"at": "now"})
    for each in at_once:
        refused = await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/preview", each)
        assert "reactivate" in refused["detail"], "days behind the end would be charged"
        await customer.refused("SUBSCRIPTION_STATE", "PUT", PATH, each)
    assert await charged(customer) == before
    anew = await change(customer, plan="basic", interval="year")
    assert anew["cancel_at"] == anew["current_period_end"] == date["cancel_at"]


@pytest.mark.parametrize(
    "wish",
    [
        {"plan": "enterprise"},
        {"plan": "starter"},
        {"add_ons": [{"add_on": "ai-500", "quantity": 20}]},
    ],
)
async def test_what_is_left_is_not_told_by_terms_that_came_in_a_pause(
    actors: Actors, wish: Json
) -> None:
    customer = await begun(actors)
    await use(customer, "500")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.ask("PUT", PATH, wish, status=200)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == 0


async def test_credits_of_a_plan_stay_where_its_money_stays(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.ask("PUT", PATH, {"plan": "starter"}, status=200)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == 0
    assert await customer.credits() == 500


async def test_a_resumption_that_is_not_paid_opens_no_way_back_to_the_money(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "500")
    await customer.ask("PUT", PATH, {"plan": "starter", "at": "period_end"}, status=200)
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.script("insufficient_funds", then="last")
    await customer.call("POST", f"{PATH}/resume")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == 0


async def test_a_period_is_cut_once_and_to_a_day_at_least(actors: Actors) -> None:
    """Each piece has the free units and agreed limits of a whole cycle."""
    customer = await begun(actors)
    end = f"{PATH}/cancel"
    for soon in ("2027-02-01T10:01:00Z", "2027-02-02T09:59:59Z", "2027-03-01T11:00:00Z"):
        told = await customer.refused("VALIDATION_FAILED", "POST", end, {"cancel_at": soon})
        assert "shorter than a day" in told["detail"]
    await customer.ask("POST", end, {"cancel_at": "2027-02-03T10:00:00Z"}, status=200)
    await customer.advance(to="2027-02-02T10:00:00Z")
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    for again in ("2027-02-05T10:00:00Z", "2027-02-28T10:00:00Z"):
        told = await customer.refused("VALIDATION_FAILED", "POST", end, {"cancel_at": again})
        assert "already cut this period" in told["detail"]
    await customer.ask("POST", end, {"cancel_at": "2027-03-01T10:00:00Z"}, status=200)
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    soon = "2027-02-02T12:00:00Z"
    await customer.ask("POST", end, {"cancel_at": soon}, status=200)
    told = await customer.refused("SUBSCRIPTION_STATE", "PUT", PATH, {"interval": "year"})
    assert "shorter than a day" in told["detail"]


async def test_a_period_that_is_billed_already_may_end_within_its_first_day(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    soon = {"cancel_at": "2027-01-01T20:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", soon, status=200)
    await customer.advance(to="2027-01-01T20:00:00Z")
    ended = await customer.subscription()
    assert (ended["status"], ended["ended_at"]) == ("canceled", soon["cancel_at"])
    assert await money(customer) == 0, "nothing is credited for it"


async def test_a_billing_day_leaves_no_last_period_of_minutes_behind_a_trial(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    trial = await customer.subscribe("basic", trial=True, billing_day=31)
    assert trial["trial_end"] == "2027-01-15T10:00:00Z"
    soon = {"cancel_at": "2027-01-15T10:05:00Z"}
    told = await customer.refused("VALIDATION_FAILED", "POST", f"{PATH}/cancel", soon)
    assert "shorter than a day" in told["detail"]
    for date in ("2027-01-16T10:00:00Z", "2027-01-15T10:00:00Z", "2027-01-31T10:00:00Z"):
        await customer.ask("POST", f"{PATH}/cancel", {"cancel_at": date}, status=200)


async def test_another_interval_leaves_no_last_period_of_hours(actors: Actors) -> None:
    key = f"weeks-{uuid4().hex[:8]}"
    terms = {
        "name": "Weeks", "family": key, "allowance": "week",
        "prices": {"month": {"USD": 3100}, "week": {"USD": 700}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    customer = await begun(actors, key)
    # Months from 1 January end it with one; of weeks from 1 February the last would have an hour.
    date = {"cancel_at": "2027-04-05T11:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    for when in ("period_end", "now"):
        if when == "now":
            date["cancel_at"] = "2027-04-02T11:00:00Z"
            await customer.ask("POST", f"{PATH}/cancel", date, status=200)
        wish = {"interval": "week", "at": when}
        told = await customer.refused("SUBSCRIPTION_STATE", "PUT", PATH, wish)
        assert "shorter than a day" in told["detail"]
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.ask("PUT", PATH, {"interval": "week", "at": "period_end"}, status=200)
    date["cancel_at"] = "2027-04-05T11:00:00Z"
    told = await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/cancel", date)
    assert "shorter than a day" in told["detail"]
    date["cancel_at"] = "2027-04-05T10:00:00Z"
    await customer.ask("POST", f"{PATH}/cancel", date, status=200)


async def test_a_resumption_leaves_no_last_period_of_hours(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    # As where a debt was settled after the period: the end stands through the pause.
    await customer.rows(
        "UPDATE subscriptions SET cancel_at = '2027-02-02T12:00:00Z', canceled_at = updated_at"
        " WHERE account_id = %(me)s"
    )
    await customer.advance(to="2027-01-02T10:00:00Z")
    told = await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/resume")
    assert "shorter than a day" in told["detail"]
    await customer.advance(to="2027-01-04T10:00:00Z")
    assert (await customer.ask("POST", f"{PATH}/resume", status=200))["status"] == "active"


async def test_only_the_cycle_is_kept_of_a_year_that_got_another_plan_in_a_pause(
    actors: Actors,
) -> None:
    customer = await begun(actors, "basic", interval="yearly")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.ask("PUT", PATH, {"plan": "starter"}, status=200)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    year = (await customer.rows(PERIOD))[0]
    left = (year["ends"] - year["cycle_ends"]) / (year["ends"] - year["begins"])
    assert await money(customer) == round(19000 * left)


async def test_a_resumption_has_its_time_back_like_any_other(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.ask("PUT", PATH, {"plan": "starter"}, status=200)
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    await customer.until_subscription("active")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) > 0


async def test_use_that_was_free_beyond_a_plan_counts_as_used(actors: Actors) -> None:
    keys = [f"{name}-{uuid4().hex[:8]}" for name in ("open", "shut")]
    for key, then, cents in zip(keys, ("notify", "block"), (100000, 3000), strict=True):
        limits = [{"meter": "ai_responses", "included": "1000", "then": then}]
        body = {"name": key, "family": key, "limits": limits, "prices": {"month": {"USD": cents}}}
        await actors.operate("PUT", f"/admin/plans/{key}", body)
    customer = await begun(actors, keys[0])
    assert (await use(customer, "50000"))["total_cost"] == "0"
    changed = await change(customer, plan=keys[1], at="now")
    assert changed["plan"]["key"] == keys[1]
    assert await money(customer) == 0
