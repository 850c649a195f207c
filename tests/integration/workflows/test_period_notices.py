"""The notices before a trial's end and before the renewal of a long period, as events."""

from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Json, instant
from tests.integration.changes.chosen_plans import told
from tests.integration.dunning.dunning_setup import START

TRIAL_END: Final = "2027-01-15T10:00:00Z"
CANCEL: Final = "POST /billing/subscription/cancel"


async def test_the_end_of_a_trial_is_told_a_week_and_three_days_before(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await customer.advance(to="2027-01-08T09:59:59Z")
    assert await told(customer, "subscription.trial_ending") == []
    await customer.advance(to="2027-01-12T09:59:59Z")
    (first,) = await told(customer, "subscription.trial_ending")
    await customer.advance(to="2027-01-12T10:00:00Z")
    notices = await told(customer, "subscription.trial_ending")
    assert notices[0] == first
    assert [one["days_ahead"] for one in notices] == [7, 3]
    for one in notices:
        assert instant(one["current_period_end"]) == instant(TRIAL_END)
        assert (one["of_plan"], one["interval"]) == ("basic", "month")
        assert (one["price_cents"], one["currency"]) == (1900, "USD")
        assert CANCEL in one["how_to_cancel"]
    await customer.advance(to=TRIAL_END)
    assert (await customer.subscription())["status"] == "canceled"
    assert await told(customer, "subscription.trial_ending") == notices


async def test_the_notices_move_with_the_end_of_their_trial_and_are_void_with_a_cancel(
    actors: Actors,
) -> None:
    customer, leaving = [await actors.customer_on_clock(START) for _ in range(2)]
    for one in (customer, leaving):
        await one.subscribe("basic", trial=True)
    extend = f"/admin/accounts/{customer.id}/subscription/extend"
    more = {"days": 5, "reason": "slow start"}
    await actors.operate("POST", extend, more, key=str(uuid4()), status=200)
    await leaving.ask("POST", "/billing/subscription/cancel", {}, status=200)
    await customer.advance(to="2027-01-13T09:59:59Z")
    assert await told(customer, "subscription.trial_ending") == []
    await customer.advance(to="2027-01-17T10:00:00Z")
    ends = [
        instant(one["current_period_end"])
        for one in await told(customer, "subscription.trial_ending")
    ]
    assert ends == [instant("2027-01-20T10:00:00Z")] * 2
    await leaving.advance(to="2027-01-17T10:00:00Z")
    assert (await leaving.subscription())["status"] == "canceled"
    assert await told(leaving, "trial_ending") == []


async def test_a_year_is_told_of_before_it_renews_at_the_price_that_is_charged_then(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="year")
    later = {"plan": "pro", "at": "period_end"}
    await customer.ask("PUT", "/billing/subscription", later, status=200)
    await customer.advance(to="2027-12-02T09:59:59Z")
    assert await told(customer, "subscription.renewal_upcoming") == []
    await customer.advance(to="2027-12-02T10:00:00Z")
    (notice,) = await told(customer, "subscription.renewal_upcoming")
    assert instant(notice["current_period_end"]) == instant("2028-01-01T10:00:00Z")
    assert (notice["plan"], notice["of_plan"], notice["interval"]) == ("basic", "pro", "year")
    assert (notice["price_cents"], notice["currency"]) == (49000, "USD")
    assert CANCEL in notice["how_to_cancel"]
    await customer.advance(to="2028-01-01T10:00:00Z")
    days = [one["days_ahead"] for one in await told(customer, "subscription.renewal_upcoming")]
    assert days == [30, 7]
    assert [one["amount"] for one in await customer.effects()] == [19000, 49000]


async def test_a_plan_has_notice_days_of_its_own(actors: Actors) -> None:
    key = f"told-{uuid4().hex[:8]}"
    plan: Json = {
        "name": "Told", "family": "told", "trial_days": 14, "prices": {"month": {"USD": 1000}},
        "notices": {"trial": [], "renewal": [5], "renewal_over_days": 0},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", plan)
    customer, standard = [await actors.customer_on_clock(START) for _ in range(2)]
    await customer.save_card()
    await customer.subscribe(key, trial=True)
    await standard.subscribed("basic")
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert await told(customer, "subscription.trial_ending") == []
    (notice,) = await told(customer, "subscription.renewal_upcoming")
    assert (notice["days_ahead"], notice["price_cents"]) == (5, 1000)
    await standard.advance(to="2027-02-11T10:00:00Z")
    assert await told(standard, "renewal_upcoming") == [], "a month has no notice unless it is set"
