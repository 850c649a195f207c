"""An account's own matter acts when time passes, parts fail, or a bill is overdue."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest
from sqlalchemy import insert, select

from billing.core.clock import database_now
from billing.core.database import Database
from billing.ledger.credits import service as credits
from billing.money.payments import event_owners
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.schemas import ProviderEvent
from billing.platform.provider_inbox.tables import stripe_webhook_events
from tests.integration.actors import Json, wait_for
from tests.integration.payment_methods.conftest import METHODS, SETUP, Cardholder

BIRTH: Final = datetime.fromisoformat("2027-03-14T09:00:00+00:00")


@pytest.fixture
async def traveller(new_customer: Callable[..., Awaitable[Cardholder]]) -> Cardholder:
    """A test account whose clock stands at its birth."""
    return await new_customer(is_test=True, clock_at=BIRTH.isoformat())


async def grant(
    database: Database, customer: Cardholder, amount: int, expires_at: datetime
) -> None:
    """Credits with an end, as a plan's cycle grants them."""
    async with database.tenant(customer.uuid) as connection:
        await credits.grant(
            connection,
            account_id=customer.uuid,
            amount=Decimal(amount),
            kind="plan",
            key=f"{customer.id}/lot-{amount}",
            is_paid=False,
            reason="test",
            expires_at=expires_at,
        )


async def expires(customer: Cardholder) -> list[tuple[str, timedelta]]:
    """The events about expired credits: how many, and when after birth."""
    rows = await customer.rows(
        "SELECT data->>'credits' AS credits, occurred_at AS at FROM events"
        " WHERE account_id = %(me)s AND type = 'evt.billing.credits.expired' ORDER BY seq"
    )
    return [(row["credits"], row["at"] - BIRTH) for row in rows]


async def setup_status(customer: Cardholder) -> str:
    [row] = await customer.rows("SELECT status FROM setup_intents WHERE account_id = %(me)s")
    return str(row["status"])


async def test_credits_expire_at_their_instant_and_an_event_says_so(
    traveller: Cardholder, database: Database
) -> None:
    for days, amount in ((30, 100), (10, 50), (10, 7)):
        await grant(database, traveller, amount, BIRTH + timedelta(days=days))

    await traveller.advance(days=9)
    assert await expires(traveller) == []

    await traveller.advance(days=90)
    assert await expires(traveller) == [
        ("50.00", timedelta(days=10)),
        ("7.00", timedelta(days=10)),
        ("100.00", timedelta(days=30)),
    ]
    assert await traveller.credits() == 0
    ran = await traveller.rows(
        "SELECT ran_at FROM steps WHERE account_id = %(me)s AND name = 'expire_credits'"
        " ORDER BY ran_at"
    )
    assert [step["ran_at"] - BIRTH for step in ran] == [timedelta(days=10), timedelta(days=30)]


async def test_a_later_grant_that_ends_sooner_is_seen_to_in_time(
    traveller: Cardholder, database: Database
) -> None:
    await grant(database, traveller, 5, BIRTH + timedelta(days=300))
    await traveller.advance(days=1)
    await grant(database, traveller, 3, BIRTH + timedelta(days=2))
    await traveller.advance(days=2)
    assert await expires(traveller) == [("3.00", timedelta(days=2))]


async def test_in_real_time_credits_expire_although_nobody_touches_them(
    customer: Cardholder, database: Database
) -> None:
    [row] = await customer.rows("SELECT now() AS at")
    await grant(database, customer, 9, row["at"] + timedelta(seconds=2))

    async def told() -> list[tuple[str, timedelta]]:
        return await expires(customer)

    [(amount, _)] = await wait_for(told, "the expire is told")
    assert amount == "9.00"


async def test_when_no_webhook_comes_stripe_is_asked_after_a_minute(traveller: Cardholder) -> None:
    begun = await traveller.begin()
    async with traveller.unheard():
        await traveller.confirm_card(begun)
        assert await traveller.methods() == []
        await traveller.advance(to="2027-03-14T09:01:00Z")
        [method] = await traveller.methods()
    assert method["is_default"]


async def test_a_card_that_is_never_given_is_waited_for_one_day(traveller: Cardholder) -> None:
    begun = await traveller.begin()
    await traveller.advance(to="2027-03-15T08:59:59Z")
    assert await setup_status(traveller) == "waiting"
    await traveller.advance(to="2027-03-15T09:00:00Z")
    assert await setup_status(traveller) == "expired"
    assert await traveller.rows("SELECT status FROM matters WHERE account_id = %(me)s") == [
        {"status": "closed"}
    ]

    # It was given after all: late, and still welcome.
    await traveller.confirm_card(begun)
    [method] = await traveller.eventually(lambda methods: len(methods) == 1)
    assert method["is_default"]
    assert await setup_status(traveller) == "succeeded"


async def test_a_given_up_setup_can_still_be_finished_by_its_owner(traveller: Cardholder) -> None:
    begun = await traveller.begin()
    async with traveller.unheard():
        await traveller.advance(days=2)
        await traveller.confirm_card(begun)
        body = {"setup_intent_id": begun["provider_reference"]}
        assert (await traveller.ask("POST", METHODS, body, status=201))["is_default"]


async def overdue(customer: Cardholder) -> Json:
    """A trial that ended with a card which is always declined: past due, in dunning."""
    failing = await customer.save_card("pm_card_chargeCustomerFail")
    await customer.subscribe("basic", trial=True)
    await customer.advance(days=15)
    await customer.until_subscription("past_due")
    return failing


async def test_a_new_card_pays_what_is_overdue_as_soon_as_it_is_chosen(
    traveller: Cardholder,
) -> None:
    failing = await overdue(traveller)
    second = await traveller.save_card()
    assert (await traveller.subscription())["status"] == "past_due", "not the one that is charged"
    await traveller.ask("POST", f"{METHODS}/{second['id']}/default", {"confirm": "DEFAULT"})
    await traveller.until_subscription("active")
    await traveller.ask("DELETE", f"{METHODS}/{failing['id']}", {"confirm": "DELETE"}, status=200)
    assert len(await traveller.effects()) == 1


async def test_a_card_saved_as_the_default_pays_what_is_overdue_at_once(
    traveller: Cardholder,
) -> None:
    await overdue(traveller)
    await traveller.save_card(make_default=True, confirm="DEFAULT")
    await traveller.until_subscription("active")
    assert len(await traveller.effects()) == 1


@pytest.mark.slow
async def test_a_worker_that_dies_while_a_card_is_opened_opens_it_once(
    customer: Cardholder,
) -> None:
    await customer.begin()
    await customer.actors.control.kill("worker", hold=True)
    undecided = await customer.ask("POST", SETUP, {}, status=202, key="one")
    assert undecided["next_action"] == {"type": "wait"}
    await customer.actors.control.start("worker")

    async def again() -> Json | None:
        answer = await customer.call("POST", SETUP, {}, key="one")
        opened: Json = answer.json()
        return opened if answer.status_code == 201 else None

    opened = await wait_for(again, "the setup intent is open") or {}
    assert opened["setup_intent_id"] == undecided["setup_intent_id"]
    listed = await customer.stripe(
        "GET", "/v1/setup_intents", customer=await customer.stripe_customer()
    )
    assert len(listed["data"]) == 2


async def test_news_of_a_card_that_came_after_the_look_are_not_heard_yet(
    customer: Cardholder, database: Database
) -> None:
    asked_at = BIRTH
    names = [f"evt_{customer.id}_{number}" for number in range(3)]
    events = [
        {
            "stripe_event_id": name, "account_id": customer.uuid, "type": "payment_method.detached",
            "workflow_id": f"account/{customer.id}", "object_id": f"pm_{customer.id}",
            "payload": {}, "received_at": asked_at + timedelta(seconds=number - 1),
        }
        for number, name in enumerate(names)
    ]  # fmt: skip
    async with database.operator() as connection, connection.begin_nested() as undone:
        await connection.execute(insert(stripe_webhook_events), events)
        await inbox.mark_looked(connection, names[0], asked_at)
        stored = stripe_webhook_events.c
        waiting = select(stored.stripe_event_id).where(
            stored.account_id == customer.uuid, stored.status == "received"
        )
        assert (await connection.execute(waiting)).scalars().all() == names[2:]
        await undone.rollback()  # before the sweep looks for their owner


async def test_events_are_received_at_the_databases_time_whatever_the_clock_of_the_api(
    customer: Cardholder, database: Database
) -> None:
    event = ProviderEvent(
        event_id=f"evt_{customer.id}_late", type="payment_method.detached", account=None,
        object_id=f"pm_{customer.id}", workflow_id=f"account/{customer.id}", intent_id=None,
        created_at=None, payload={},
    )  # fmt: skip
    async with database.operator() as connection, connection.begin_nested() as undone:
        before = await database_now(connection)  # a look begins here
        slow = before - timedelta(seconds=1)
        await event_owners.receive(connection, [event], "webhook", slow)
        stored = stripe_webhook_events.c
        received = select(stored.received_at).where(stored.stripe_event_id == event.event_id)
        received_at = await connection.scalar(received)
        assert received_at is not None
        assert received_at > before
        await undone.rollback()
