"""A renewal stores its intent between its two calls of the provider, without a new decision."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from billing.core import ids
from billing.money.payments import opened_intents
from billing.money.payments import store as payments
from billing.money.payments.calls import Call
from billing.money.payments.rules import Outcome
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.faults.failpoints import Failpoints
from tests.integration.faults.rows import open_operator

START: Final = "2027-01-05T10:00:00Z"
RENEWAL: Final = "2027-02-05T10:00:00Z"
TRIES: Final = """
    SELECT a.status, p.stripe_payment_intent_id AS intent_id
    FROM payment_attempts a JOIN payments p ON p.id = a.payment_id
    WHERE a.account_id = %(me)s ORDER BY a.id DESC LIMIT 1
"""

REVISION: Final = """
    SELECT revision FROM matters WHERE account_id = %(me)s AND kind = 'subscription'
"""
UNOPENED: Final = """
    SELECT id FROM payments WHERE account_id = %(me)s AND stripe_payment_intent_id IS NULL
"""


@pytest.fixture
async def failpoints(actors: Actors) -> AsyncIterator[Failpoints]:
    points = Failpoints(actors.stack)
    yield points
    points.release()


async def held_at(failpoints: Failpoints, customer: Customer, place: str) -> "asyncio.Task[object]":
    """A renewal that is held there, while its customer's clock walks."""
    failpoints.arm(place)
    walk = asyncio.create_task(customer.advance(to=RENEWAL))

    async def holds() -> bool:
        return failpoints.holds(place)

    await wait_for(holds, f"somebody is held at {place}")
    return walk


async def test_a_card_is_tried_as_soon_as_its_intent_is_stored(
    actors: Actors, failpoints: Failpoints
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    walk = await held_at(failpoints, customer, "charge.before_confirm")
    (tried,) = await customer.rows(TRIES)
    assert tried["status"] == "pending"
    assert tried["intent_id"] is not None
    failpoints.release()
    await walk
    (tried,) = await customer.rows(TRIES)
    assert tried["status"] == "succeeded"


async def test_no_card_is_tried_for_what_was_paid_by_hand_meanwhile(
    actors: Actors, failpoints: Failpoints
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    walk = await held_at(failpoints, customer, "intent.created")
    invoice = (await customer.invoices())[-1]
    body = {
        "invoice_id": ids.encode(ids.INVOICE, invoice["id"]), "payment_method": "bank_transfer",
        "transaction_reference": "T-1",
    }  # fmt: skip
    await customer.ask("POST", "/billing/payments/manual", body)
    failpoints.release()
    await walk
    (tried,) = await customer.rows(TRIES)
    assert tried["status"] == "unreached"
    assert [one["amount_paid_minor"] for one in await customer.invoices()][-1] == 0


async def test_the_intent_of_a_matter_that_was_woken_is_left_to_its_decision(
    actors: Actors, failpoints: Failpoints
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    walk = await held_at(failpoints, customer, "intent.created")
    ((known,), (row,)) = await customer.rows(REVISION), await customer.rows(UNOPENED)
    made = Outcome(kind="waiting", intent_id=f"pi_{customer.id}")
    async with open_operator(actors.stack) as database, database.operator() as connection:
        payment = await payments.get(connection, row["id"])
        for woken, is_stored in ((1, False), (0, True)):
            call = Call("open", payment, revision=known["revision"] - woken)
            stored = await opened_intents.store(connection, call, made)
            assert (stored is not None) == is_stored
    failpoints.release()
    await walk
    (tried,) = await customer.rows(TRIES)
    assert tried["status"] == "succeeded", "a second decision has stored the intent that was made"
    assert tried["intent_id"] != made.intent_id
