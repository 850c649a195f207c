"""A halted matter goes on for what its payer, the provider or an operator does."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import update

from billing.core import ids
from billing.core.database import Database
from billing.core.errors import Conflict
from billing.matters.tables import matters
from billing.money.invoice_requests import locks, recovery
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import case, owed, steer
from tests.integration.operators.test_matters import halted_in_dunning, until_status


async def stuck(actors: Actors) -> tuple[Customer, str]:
    """A subscription in dunning whose try of day 3 was declined by its bank, and is halted: the
    cause is gone, and the card has money again.
    """
    async with halted_in_dunning(actors) as (customer, name):
        await customer.script()
    return customer, name


async def until_declined(customer: Customer) -> None:
    """The try that was halted has got its bank's answer."""
    await wait_for(
        lambda: case(customer),
        "the halted try is declined",
        lambda seen: seen["attempts"][-1]["status"] == "declined",
    )


async def test_a_payer_pays_all_that_halted_tries_have_left_open(actors: Actors) -> None:
    customer, _ = await stuck(actors)
    paid = await customer.ask("POST", "/billing/pay-overdue", {}, status=200, key=str(uuid4()))
    assert [one["status"] for one in paid["invoices"]] == ["paid"]


async def test_a_new_card_frees_a_halted_try(actors: Actors) -> None:
    customer, name = await stuck(actors)
    await customer.save_card("pm_card_mastercard")
    await until_status(actors, name, "open")
    await until_declined(customer)


async def test_an_operator_retries_what_a_halted_try_has_left_open(actors: Actors) -> None:
    customer, _ = await stuck(actors)
    assert (await steer(customer, "retry-now"))["attempts"][-1]["status"] == "succeeded"


async def test_an_operator_forgives_what_a_halted_try_has_left_open(actors: Actors) -> None:
    customer, _ = await stuck(actors)
    assert (await steer(customer, "forgive", {"reason": "our fault"}))["status"] == "forgiven"
    assert len(await customer.effects()) == 1, "nothing is charged for it any more"


async def test_a_try_that_goes_on_meanwhile_comes_before_the_forgiveness(
    actors: Actors, database: Database
) -> None:
    customer, name = await stuck(actors)
    debt = ids.decode(ids.INVOICE, (await owed(customer))["invoice_id"])

    async def forgiven() -> None:
        async with database.tenant(customer.uuid) as connection:
            await recovery.forgive(connection, debt, "our fault")

    async with database.tenant(customer.uuid) as connection:
        await locks.take(connection, debt)
        told = asyncio.create_task(forgiven())
        await asyncio.wait({told}, timeout=1)
        assert not told.done(), "it waits for the lock"
        goes_on = update(matters).where(matters.c.workflow_id == name).values(status="open")
        await connection.execute(goes_on)
    with pytest.raises(Conflict) as refused:
        await told
    assert refused.value.code == "PAYMENT_PENDING"


async def test_an_operator_credits_what_a_halted_try_has_left_open(actors: Actors) -> None:
    customer, _ = await stuck(actors)
    debt, body = await owed(customer), {"amount_cents": 4900, "reason": "our fault"}
    path = f"/admin/invoices/{debt['invoice_id']}/credit-note"
    done = await actors.operate("POST", path, body, key=str(uuid4()), status=200)
    assert done["status"] == "paid"


async def test_the_providers_event_frees_a_halted_try(actors: Actors) -> None:
    customer, name = await stuck(actors)
    (payment,) = await customer.rows(
        "SELECT p.stripe_payment_intent_id AS id FROM payments p JOIN invoices i"
        " ON i.id = p.invoice_id WHERE p.account_id = %(me)s AND i.status = 'open'"
    )
    subject: Json = {"id": payment["id"], "object": "payment_intent", "metadata": {}}
    await actors.sandbox.emit("payment_intent.payment_failed", subject)
    await until_status(actors, name, "open")
    await until_declined(customer)
