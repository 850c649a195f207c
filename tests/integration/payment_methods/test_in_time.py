"""What an account's own matter does when time passes, parts fail, or a bill is overdue."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.credits import service as credits
from embedded.control import StackControl
from tests.integration.payment_methods.conftest import METHODS, Customer, Json, until

NewCustomer = Callable[..., Awaitable[Customer]]
BIRTH = "2027-03-14T09:00:00Z"


@pytest.fixture
async def traveller(new_customer: NewCustomer) -> Customer:
    """A test account on a frozen clock."""
    return await new_customer(is_test=True, clock_at=BIRTH)


async def travel(customer: Customer, **order: Any) -> Json:
    """Let the customer's time pass, and wait until it has."""
    path = f"/admin/accounts/{customer.account['id']}/clock"
    answer = await customer.call("POST", path, order, role="admin")
    assert answer.status_code == 202, answer.text

    async def clock() -> Any:
        return (await customer.call("GET", path, role="admin")).json()

    stands: Json = await until(clock, lambda at: at["status"] != "advancing")
    assert stands["status"] == "ready", stands
    return stands


async def grant(customer: Customer, amount: int, key: str, expires_at: datetime) -> None:
    async with customer.database.tenant(customer.account_id) as connection:
        await credits.grant(
            connection,
            account_id=customer.account_id,
            amount=Decimal(amount),
            kind="plan",
            key=f"{customer.account['id']}/{key}",
            is_paid=False,
            reason="test",
            expires_at=expires_at,
        )


async def lapses(customer: Customer) -> list[tuple[str, datetime]]:
    """What went out about lapsed credits: how many, and when in the customer's time."""
    rows = await customer.rows(
        "SELECT data->>'credits' AS credits, occurred_at FROM events"
        " WHERE type = 'evt.billing.credits.expired' ORDER BY seq"
    )
    return [(row.credits, row.occurred_at) for row in rows]


async def setup_status(customer: Customer) -> list[str]:
    return [row.status for row in await customer.rows("SELECT status FROM setup_intents")]


async def test_credits_lapse_at_their_instant_and_the_world_is_told(traveller: Customer) -> None:
    birth = datetime.fromisoformat(BIRTH)
    for days, amount in ((30, 100), (10, 50), (10, 7)):
        await grant(traveller, amount, f"lot-{days}-{amount}", birth + timedelta(days=days))

    await travel(traveller, advance_days=9)
    assert await lapses(traveller) == []

    await travel(traveller, advance_days=90)
    assert await lapses(traveller) == [
        ("50.00", birth + timedelta(days=10)),
        ("7.00", birth + timedelta(days=10)),
        ("100.00", birth + timedelta(days=30)),
    ]
    [row] = await traveller.rows("SELECT balance, next_expiry FROM credit_balances")
    assert tuple(row) == (0, None)
    ran = await traveller.rows("SELECT ran_at FROM steps WHERE name = 'lapse' ORDER BY ran_at")
    assert [step.ran_at - birth for step in ran] == [timedelta(days=10), timedelta(days=30)]


async def test_a_later_grant_that_ends_sooner_is_seen_to_in_time(traveller: Customer) -> None:
    birth = datetime.fromisoformat(BIRTH)
    await grant(traveller, 5, "long", birth + timedelta(days=300))
    await travel(traveller, advance_days=1)
    await grant(traveller, 3, "short", birth + timedelta(days=2))
    await travel(traveller, advance_days=2)
    assert await lapses(traveller) == [("3.00", birth + timedelta(days=2))]


async def test_when_no_webhook_comes_stripe_is_asked_after_a_minute(traveller: Customer) -> None:
    begun = await traveller.begin()
    owner = await traveller.stripe_customer()
    plan = await traveller.sandbox.webhooks("drop", customer=owner)
    await traveller.sandbox.confirm_as_client(begun["provider_reference"], "pm_card_visa")
    assert await traveller.methods() == []

    await travel(traveller, advance_to="2027-03-14T09:01:00Z")

    [method] = await traveller.methods()
    assert method["is_default"]
    await traveller.sandbox.clear("webhooks", plan)


async def test_a_card_that_is_never_given_is_waited_for_one_day(traveller: Customer) -> None:
    begun = await traveller.begin()
    await travel(traveller, advance_to="2027-03-15T08:59:59Z")
    assert await setup_status(traveller) == ["waiting"]
    await travel(traveller, advance_to="2027-03-15T09:00:00Z")
    assert await setup_status(traveller) == ["expired"]
    [row] = await traveller.rows("SELECT status FROM matters")
    assert row.status == "closed"

    # It was given after all: late, and still welcome.
    await traveller.sandbox.confirm_as_client(begun["provider_reference"], "pm_card_visa")
    [method] = await traveller.eventually(lambda methods: len(methods) == 1)
    assert method["is_default"]
    assert await setup_status(traveller) == ["succeeded"]


async def test_a_given_up_setup_can_still_be_finished_by_its_owner(traveller: Customer) -> None:
    begun = await traveller.begin()
    owner = await traveller.stripe_customer()
    plan = await traveller.sandbox.webhooks("drop", customer=owner)
    await travel(traveller, advance_days=2)
    await traveller.sandbox.confirm_as_client(begun["provider_reference"], "pm_card_visa")
    answer = await traveller.call("POST", METHODS, {"setup_intent_id": begun["provider_reference"]})
    assert answer.status_code == 201, answer.text
    await traveller.sandbox.clear("webhooks", plan)


async def test_a_new_card_pays_what_is_overdue_at_once(traveller: Customer) -> None:
    failing = await traveller.save("pm_card_chargeCustomerFail")
    subscribed = await traveller.call("POST", "/billing/subscription", {"plan": "basic"})
    assert subscribed.json()["status"] == "trialing", subscribed.text
    await travel(traveller, advance_days=15)

    async def standing() -> Any:
        return (await traveller.call("GET", "/billing/subscription")).json()["status"]

    assert await until(standing, lambda status: status != "trialing") == "past_due"

    second = await traveller.save("pm_card_visa")
    assert await standing() == "past_due", "it is not the one that is charged"
    chosen = await traveller.call(
        "POST", f"{METHODS}/{second['id']}/default", {"confirm": "DEFAULT"}
    )
    assert chosen.status_code == 200

    await until(standing, lambda status: status == "active")
    gone = await traveller.call("DELETE", f"{METHODS}/{failing['id']}", {"confirm": "DELETE"})
    assert gone.status_code == 200, gone.text


async def test_a_card_saved_as_default_pays_what_is_overdue_at_once(traveller: Customer) -> None:
    await traveller.save("pm_card_chargeCustomerFail")
    await traveller.call("POST", "/billing/subscription", {"plan": "basic"})
    await travel(traveller, advance_days=15)
    await traveller.save("pm_card_visa", make_default=True, confirm="DEFAULT")

    async def standing() -> Any:
        return (await traveller.call("GET", "/billing/subscription")).json()["status"]

    await until(standing, lambda status: status == "active")


@pytest.mark.slow
async def test_a_worker_that_dies_while_a_card_is_opened_opens_it_once(
    customer: Customer, control: StackControl
) -> None:
    await customer.begin()
    owner = await customer.stripe_customer()
    await control.kill("worker", hold=True)
    undecided = await customer.call("POST", f"{METHODS}/setup-intent", {}, key="one")
    assert undecided.status_code == 202, undecided.text
    assert undecided.json()["next_action"] == {"type": "wait"}
    await control.start("worker")

    async def again() -> Any:
        return await customer.call("POST", f"{METHODS}/setup-intent", {}, key="one")

    opened = await until(again, lambda answer: answer.status_code == 201)
    assert opened.json()["setup_intent_id"] == undecided.json()["setup_intent_id"]
    listed = await customer.stripe("GET", "/v1/setup_intents", customer=owner)
    assert len(listed["data"]) == 2
