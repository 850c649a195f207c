"""Tries that reached no card in an outage: an operator has them made at once, not at their hour."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from billing.core.clock import real_now
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import (
    RENEWAL,
    START,
    attempts,
    overdue,
    owed,
    steer,
)
from tests.integration.operator_acts import audited
from tests.integration.rebuild.conftest import billing

AGAIN = ("attempt-0/again-1", "succeeded")


@asynccontextmanager
async def outage(customer: Customer) -> AsyncIterator[None]:
    """Meanwhile the customer's charges get no answer that a card was reached."""
    sandbox = customer.actors.sandbox
    fault = await sandbox.fault(
        "error_500_unstored", method="POST", path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id}, times=None,
    )  # fmt: skip
    try:
        yield
    finally:
        await sandbox.clear("faults", fault)


async def resume(customer: Customer, status: int) -> Json:
    subscription = (await customer.subscription())["subscription_id"]
    path = f"/admin/matters/subscription/{subscription}/resume"
    return await customer.actors.operate("POST", path, status=status)


async def test_one_command_charges_at_once_what_an_outage_left_for_its_hour(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock((real_now() - timedelta(days=31)).isoformat())
    subscription = await customer.subscribed("pro")
    async with outage(customer):
        await customer.advance(to=subscription["current_period_end"])
    # From here on in real time, and the try has just ended.
    await customer.rows(
        "UPDATE accounts SET clock_at = NULL, clock_target = NULL WHERE id = %(me)s"
    )
    await customer.rows(
        "UPDATE payment_attempts SET finished_at = now()"
        " WHERE account_id = %(me)s AND status = 'unreached'"
    )
    name = (await owed(customer))["invoice_id"]

    code, said = await billing(actors, "resume")

    assert code == 0, said
    words = " ".join(said.split())
    assert "halted matters were resumed" in words
    assert "charges that had reached no card are tried now" in words
    assert " 0 charges" not in words
    await wait_for(customer.effects, "the renewal is charged", lambda seen: len(seen) == 2)
    await billing(actors, "resume")
    assert len(await customer.effects()) == 2, "charged once"
    assert await audited(customer, "invoice.retry_ordered") == [name]


async def test_a_try_is_made_at_once_where_its_matter_is_resumed(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    async with outage(customer):
        await customer.advance(to=RENEWAL)
        assert await attempts(customer) == [("attempt-0", "unreached")]
        await resume(customer, 200)
        assert await attempts(customer) == [
            ("attempt-0", "unreached"), ("attempt-0/again-1", "unreached"),
        ]  # fmt: skip
    await resume(customer, 200)
    assert (await attempts(customer))[-1] == ("attempt-0/again-2", "succeeded")
    assert len(await customer.effects()) == 2, "charged once for the renewal"
    assert (await resume(customer, 409))["code"] == "MATTER_NOT_HALTED"
    assert len(await audited(customer, "invoice.retry_ordered")) == 2


async def test_a_requested_try_is_not_made_again_and_the_answer_says_so(actors: Actors) -> None:
    customer = await overdue(actors)
    async with outage(customer):
        await steer(customer, "retry-now")
    tries = [("attempt-0", "declined"), ("now-1", "unreached")]
    assert await attempts(customer) == tries

    assert (await resume(customer, 409))["code"] == "MATTER_NOT_HALTED"

    assert await attempts(customer) == tries
    assert await audited(customer, "invoice.retry_ordered") == []


async def test_an_order_that_was_not_carried_out_yet_is_not_refused_when_it_is_repeated(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    async with outage(customer):
        await customer.advance(to=RENEWAL)
    # As if no worker had answered: it is committed, and no workflow has looked.
    await customer.rows(
        "UPDATE payment_attempts"
        " SET detail = detail || jsonb_build_object('again_at', %(at)s::text)"
        " WHERE account_id = %(me)s AND status = 'unreached'",
        at=RENEWAL,
    )
    await resume(customer, 200)
    assert (await attempts(customer))[-1] == ("attempt-0/again-1", "succeeded")
    assert await audited(customer, "invoice.retry_ordered") == [], "ordered once, and not here"
    assert (await resume(customer, 409))["code"] == "MATTER_NOT_HALTED"
