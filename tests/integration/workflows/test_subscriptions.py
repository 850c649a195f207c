"""Subscriptions through the running stack: trial, periods, cycles and ends, day by day."""

from datetime import date

import pytest

from tests.integration.actors import Actors, Customer, instant, intent_of
from tests.integration.money_seen import charged

START = "2027-01-01T10:00:00Z"


async def issued(customer: Customer) -> list[tuple[date, int, str]]:
    """Day, amount and status of every numbered invoice."""
    return [
        (invoice["issued_on"], invoice["total_minor"], invoice["status"])
        for invoice in await customer.invoices()
        if invoice["number"] is not None
    ]


async def test_seventy_five_days_bring_invoices_of_day_14_45_and_73(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    begun = await customer.subscribe("pro", trial=True)
    assert (begun["status"], begun["next_action"]["type"]) == ("trialing", "none")
    assert await customer.credits() == 500, "the trial's own cycle"
    assert await customer.invoices() == []

    await customer.advance(days=75)

    assert await issued(customer) == [
        (date(2027, 1, 15), 4900, "paid"),
        (date(2027, 2, 15), 4900, "paid"),
        (date(2027, 3, 15), 4900, "paid"),
    ]
    assert await charged(customer) == [4900, 4900, 4900]
    now = await customer.subscription()
    assert now["status"] == "active"
    assert instant(now["current_period_end"]) == instant("2027-04-15T10:00:00Z")
    assert await customer.credits() == 500, "each cycle's credits end with it"
    assert len(await customer.grants("plan")) == 4
    keys = {request["key"] for request in await customer.requests()}
    attempts = sorted(key for key in keys if key and "/attempt-" in key)
    assert [key.partition("/")[2] for key in attempts] == ["attempt-0"] * 3


async def test_a_trial_without_a_card_ends_without_an_invoice(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("pro", trial=True)
    await customer.advance(days=14)
    ended = await customer.subscription()
    assert (ended["status"], ended["end_reason"]) == ("canceled", "trial ended without a card")
    assert await customer.invoices() == []
    assert await customer.effects() == []
    again = await customer.subscribe("basic", trial=True)
    assert again["status"] == "incomplete", "one trial per account"


async def test_a_first_payment_that_never_comes_expires_after_23_hours(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe("pro")
    assert (begun["status"], begun["next_action"]["type"]) == ("incomplete", "confirm_card")
    await customer.advance(to="2027-01-02T08:59:59Z")
    assert (await customer.subscription())["status"] == "incomplete"
    await customer.advance(to="2027-01-02T09:00:00Z")
    assert (await customer.subscription())["status"] == "incomplete_expired"
    assert (await customer.confirm(begun)).status == 400, "canceled at the provider first"
    assert [invoice["status"] for invoice in await customer.invoices()] == ["void"]
    await customer.subscribed("basic")


async def test_a_new_wish_replaces_one_that_was_not_paid(customer: Customer) -> None:
    first = await customer.subscribe("pro")
    second = await customer.subscribe("basic")
    assert (second["status"], second["plan"]["key"]) == ("incomplete", "basic")
    assert (await customer.confirm(first)).status == 400, "the first intent is canceled"
    await customer.pay(second)
    assert (await customer.until_subscription("active"))["plan"]["key"] == "basic"
    assert await charged(customer) == [1900]
    rows = await customer.rows(
        "SELECT plan_key, status FROM subscriptions WHERE account_id = %(me)s"
        " ORDER BY created_at, id"
    )
    assert [(row["plan_key"], row["status"]) for row in rows] == [
        ("pro", "incomplete_expired"),
        ("basic", "active"),
    ]


async def test_a_wish_that_turns_out_paid_is_not_replaced(customer: Customer) -> None:
    first = await customer.subscribe("pro")
    async with customer.unheard():
        await customer.pay(first)
        await customer.refused(
            "SUBSCRIPTION_EXISTS", "POST", "/billing/subscription", {"plan": "basic"}
        )
    now = await customer.subscription()
    assert (now["status"], now["plan"]["key"]) == ("active", "pro")
    assert await charged(customer) == [4900]


async def test_a_scheduled_end_lets_the_paid_time_run_out(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    body = {"at": "period_end"}
    scheduled = await customer.ask("POST", "/billing/subscription/cancel", body)
    assert (scheduled["status"], scheduled["cancel_at_period_end"]) == ("active", True)
    await customer.advance(to="2027-02-01T09:59:59Z")
    assert (await customer.subscription())["status"] == "active"
    await customer.advance(days=40)
    assert (await customer.subscription())["status"] == "canceled"
    assert await charged(customer) == [4900]


async def test_an_end_taken_back_in_time_goes_on_as_if_nothing_was(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "period_end"})
    back = await customer.ask("POST", "/billing/subscription/reactivate")
    assert back["cancel_at_period_end"] is False
    await customer.refused("SUBSCRIPTION_STATE", "POST", "/billing/subscription/reactivate")
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "active"
    assert await charged(customer) == [4900, 4900]


async def test_an_end_now_stops_everything_to_come(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribed("pro")
    ended = await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    assert (ended["status"], ended["end_reason"]) == ("canceled", "canceled by request")
    await customer.advance(days=70)
    assert await charged(customer) == [4900]
    matter = f"subscription/{begun['subscription_id']}"
    await actors.temporal.get_workflow_handle(matter).result()


async def test_a_yearly_price_grants_every_month_and_bills_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.subscribed("pro", interval="yearly")
    await customer.advance(to="2028-01-31T09:59:59Z")
    starts = [lot["created_at"].strftime("%m-%d") for lot in await customer.grants("plan")]
    assert starts == [
        "01-31", "02-28", "03-31", "04-30", "05-31", "06-30",
        "07-31", "08-31", "09-30", "10-31", "11-30", "12-31",
    ]  # fmt: skip
    assert await charged(customer) == [49000]
    assert await customer.credits() == 500
    await customer.advance(to="2028-01-31T10:00:00Z")
    assert await charged(customer) == [49000, 49000]
    assert len(await customer.grants("plan")) == 13


async def test_a_free_plan_is_active_at_once_and_never_charged(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe("free")
    assert (begun["status"], begun["next_action"]["type"]) == ("active", "none")
    await customer.advance(days=62)
    assert (await customer.subscription())["status"] == "active"
    assert await customer.effects() == []
    assert {invoice["status"] for invoice in await customer.invoices()} == {"paid"}


@pytest.mark.parametrize("card", ["pm_card_authenticationRequired"])
async def test_a_first_payment_with_3ds_waits_for_the_payer(customer: Customer, card: str) -> None:
    begun = await customer.subscribe("pro")
    asked = await customer.confirm(begun, card)
    assert asked.body["status"] == "requires_action"
    assert (await customer.subscription())["status"] == "incomplete"
    await customer.actors.sandbox.authenticate(intent_of(begun))
    await customer.until_subscription("active")
    assert await charged(customer) == [4900]


@pytest.mark.slow
async def test_while_stripe_does_not_let_go_of_the_old_wish_the_new_one_waits(
    customer: Customer,
) -> None:
    await customer.subscribe("pro")
    owner = await customer.stripe_customer()
    sandbox = customer.actors.sandbox
    fault = await sandbox.fault(
        "error_429", path="/v1/payment_intents/*/cancel", customer=owner, times=None
    )
    path, body = "/billing/subscription", {"plan": "basic", "trial": False}
    await customer.refused("SUBSCRIPTION_ENDING", "POST", path, body, key="again")
    await sandbox.clear("faults", fault)
    begun = await customer.ask("POST", path, body, key="again", status=201)
    assert (begun["status"], begun["plan"]["key"]) == ("incomplete", "basic")


async def test_of_two_subscriptions_of_one_instant_the_newest_is_shown(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    for _ in range(3):
        begun = await customer.subscribe("pro")
        await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
        assert (await customer.subscription())["subscription_id"] == begun["subscription_id"]
