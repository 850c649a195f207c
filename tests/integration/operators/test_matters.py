"""Operators see a matter that is stuck, and order it to go on."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from sqlalchemy import text
from temporalio.client import WorkflowFailureError

from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import store
from billing.matters.kinds import PURCHASE, SUBSCRIPTION
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import RENEWAL, START, owed, steer, tried
from tests.integration.operator_acts import audited
from tests.integration.past_triggers import past_triggers
from tests.integration.rebuild.conftest import billing


@asynccontextmanager
async def taken(customer: Customer, key: str) -> AsyncIterator[None]:
    """Meanwhile a step's key is taken: what no repeat can heal, so that its matter is halted."""
    await customer.rows(
        "INSERT INTO steps (key, workflow_id, account_id, name, due_at, ran_at, real_ran_at)"
        " VALUES (%(key)s, 'planted', %(me)s, 'planted', now(), now(), now())",
        key=key,
    )
    try:
        yield
    finally:
        free = "DELETE FROM steps WHERE key = %(key)s"
        await past_triggers(customer.actors.stack, free, key=key)


async def subscribed(actors: Actors) -> tuple[Customer, str]:
    """A subscription, and its workflow's id."""
    customer = await actors.customer_on_clock(START)
    subscription = await customer.subscribed("pro")
    return customer, f"subscription/{subscription['subscription_id']}"


@asynccontextmanager
async def halted_in_dunning(actors: Actors) -> AsyncIterator[tuple[Customer, str]]:
    """A subscription that is halted at the slot of day 3, and its workflow's id."""
    customer, name = await subscribed(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    async with taken(customer, f"{(await owed(customer))['invoice_id']}/attempt-1"):
        await customer.aim_clock(days=3)
        await until_status(actors, name, "halted")
        yield customer, name


async def matter(actors: Actors, name: str) -> Json:
    return await actors.operate("GET", f"/admin/matters/{name}", status=200)


async def until_status(actors: Actors, name: str, status: str) -> Json:
    return await wait_for(
        lambda: matter(actors, name), f"{name} is {status}", lambda seen: seen["status"] == status
    )


async def test_a_halted_matter_is_listed_and_goes_on_when_it_is_told_to(actors: Actors) -> None:
    customer, name = await subscribed(actors)
    async with taken(customer, f"{name.partition('/')[2]}/renew-{RENEWAL}"):
        await customer.aim_clock(to=RENEWAL)
        await until_status(actors, name, "halted")
        listed = await actors.operate(
            "GET", f"/admin/matters?status=halted&account_id={customer.id}"
        )
        assert [one["workflow_id"] for one in listed["data"]] == [name]
        blocked = await wait_for(
            customer.clock, "the walk is blocked", lambda seen: seen["status"] == "blocked"
        )
        assert f"{name} is halted" in blocked["blocked"]
        told = (await customer.ask("GET", "/billing/timeline", status=200))["past"]
        words = [one["words"] for one in told if one["name"] == "matter.halted"]
        assert words == ["the workflow halted"], "its reason is the operators'"

    resumed = await actors.operate("POST", f"/admin/matters/{name}/resume", status=200)

    assert resumed["status"] == "open"
    assert len(await customer.effects()) == 2, "the same step again, charged once"
    refused = await actors.operate("POST", f"/admin/matters/{name}/resume", status=409)
    assert refused["code"] == "MATTER_NOT_HALTED"
    noted = await customer.rows(
        "SELECT action, actor, detail FROM billing_audit"
        " WHERE account_id = %(me)s AND subject = %(name)s AND action LIKE 'matter.%%' ORDER BY id",
        name=name,
    )
    assert noted[0]["action"] == "matter.halted"
    assert "STEP_DONE" in noted[0]["detail"]["reason"]
    ordered = [row["actor"] for row in noted if row["action"] == "matter.resume_ordered"]
    assert len(ordered) == 1
    assert ordered[0].startswith("admin:")
    assert "matter.resumed" in {row["action"] for row in noted}


async def test_an_order_reaches_a_halted_matter_and_frees_it(actors: Actors) -> None:
    async with halted_in_dunning(actors) as (customer, name):
        handle = actors.temporal.get_workflow_handle(name)
        await handle.execute_update("forgive", {"reason": "our fault"})
        assert (await customer.subscription())["status"] == "active"
        assert (await matter(actors, name))["status"] == "open"
        assert len(await customer.effects()) == 1


async def test_a_halted_matter_whose_run_is_gone_is_begun_anew_by_the_sweep(
    actors: Actors,
) -> None:
    """It was ended on Temporal's page, and nothing ran for up to a day."""
    customer = await actors.customer()
    name = f"purchase/{(await customer.buy())['purchase_id']}"
    await actors.sandbox.reset(await customer.stripe_customer())
    await customer.rows("UPDATE purchases SET expires_at = now() WHERE account_id = %(me)s")
    run = actors.temporal.get_workflow_handle(name)
    await run.signal("changed")
    await until_status(actors, name, "halted")
    before = (await run.describe()).run_id
    await ended(actors, name)
    await wait_for(run.describe, "another run", lambda seen: seen.run_id != before)


async def test_a_halted_matter_whose_run_is_gone_goes_on_when_it_is_told_to(
    actors: Actors,
) -> None:
    sweep = actors.temporal.get_schedule_handle("billing-sweep")
    await sweep.pause()
    try:
        async with halted_in_dunning(actors) as (customer, name):
            await ended(actors, name)
        resumed = await actors.operate("POST", f"/admin/matters/{name}/resume", status=200)
    finally:
        await sweep.unpause()
    assert resumed["status"] == "open"
    await customer.advance(days=1)
    assert await tried(customer) == 3, "the slot of day 3 was tried, once"


async def ended(actors: Actors, name: str) -> None:
    """Cancel its run, as an operator does on Temporal's page."""
    run = actors.temporal.get_workflow_handle(name)
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.result()


async def test_an_order_over_the_api_frees_a_halted_matter(actors: Actors) -> None:
    async with halted_in_dunning(actors) as (customer, name):
        pass  # its cause is gone
    assert (await steer(customer, "pause"))["status"] == "paused"
    assert (await matter(actors, name))["status"] == "open"
    await customer.advance(days=10)
    assert (await customer.subscription())["status"] == "past_due"


async def test_a_halted_matter_goes_on_when_the_provider_is_to_be_asked(actors: Actors) -> None:
    async with halted_in_dunning(actors) as (customer, name):
        pass  # its cause is gone
    newest = (await customer.ask("GET", "/billing/payments"))["data"][0]
    path = f"/admin/payments/{newest['payment_id']}/check"
    checked = await actors.operate("POST", path, status=200)
    assert checked["invoice_status"] == "open"
    assert await audited(customer, "payment.check_ordered") == [newest["payment_id"]]
    assert (await matter(actors, name))["status"] == "open"


async def test_the_providers_event_frees_a_halted_matter(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small")
    payment = (await customer.ask("GET", "/billing/payments"))["data"][0]["payment_id"]
    refused = await actors.sandbox.fault(
        "error_400_stored", method="GET", path="/v1/payment_intents/*",
        metadata={"account": customer.id}, times=None,
    )  # fmt: skip
    try:
        await actors.operate("POST", f"/admin/payments/{payment}/check", status=202)
        await until_status(actors, f"purchase/{begun['purchase_id']}", "halted")
    finally:
        await actors.sandbox.clear("faults", refused)
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")


async def test_a_payer_who_pays_now_frees_a_halted_matter(actors: Actors) -> None:
    async with halted_in_dunning(actors) as (customer, name):
        invoice = (await owed(customer))["invoice_id"]
        open_tries = (
            "SELECT key FROM payment_attempts WHERE account_id = %(me)s AND status = 'pending'"
        )
        assert len(await customer.rows(open_tries)) == 1, "it refuses every other try"
    await customer.script()
    paid = await customer.ask(
        "POST", f"/billing/invoices/{invoice}/pay", status=200, key=str(uuid4())
    )
    assert paid["status"] == "paid"
    assert (await matter(actors, name))["status"] == "open"
    assert await customer.rows(open_tries) == []


async def test_all_halted_matters_go_on_by_one_command(actors: Actors) -> None:
    async with halted_in_dunning(actors) as (customer, name):
        pass  # its cause is gone
    code, said = await billing(actors, "resume")
    assert code == 0, said
    assert re.search(r"\d+ halted matters were resumed", " ".join(said.split()))
    await until_status(actors, name, "open")
    ordered = (
        "SELECT actor FROM billing_audit WHERE account_id = %(me)s AND subject = %(name)s"
        " AND action = 'matter.resume_ordered'"
    )
    assert len(await customer.rows(ordered, name=name)) == 1


async def test_matters_say_what_comes_next(actors: Actors) -> None:
    customer, name = await subscribed(actors)
    shown = await matter(actors, name)
    assert (shown["kind"], shown["status"], shown["next_step"]) == (
        "subscription", "open", "renew",
    )  # fmt: skip
    assert shown["next_due"] == RENEWAL
    assert shown["account_id"] == customer.id
    assert "renew" in shown["words"]
    kinds = {
        kind: [
            one["workflow_id"]
            for one in (
                await actors.operate("GET", f"/admin/matters?kind={kind}&account_id={customer.id}")
            )["data"]
        ]
        for kind in ("subscription", "purchase")
    }
    assert kinds == {"subscription": [name], "purchase": []}


async def test_an_unknown_matter_is_not_found(actors: Actors) -> None:
    for verb, path in (("GET", ""), ("POST", "/resume")):
        for name in ("subscription/sub_00000000000000000000000000", "nonsense", "a/b/c"):
            answer = await actors.operate(verb, f"/admin/matters/{name}{path}", status=404)
            assert answer["code"] == "MATTER_NOT_FOUND"


async def test_matters_are_woken_in_the_order_of_their_ids(
    actors: Actors, database: Database
) -> None:
    """As by those who receive events: else the two could wait for each other."""
    customer, later = await subscribed(actors)
    earlier = f"purchase/{(await customer.buy('small'))['purchase_id']}"
    # A scan of the account's matters finds it last.
    late = "UPDATE matters SET next_due = '2030-01-01' WHERE workflow_id = %(id)s"
    await customer.rows(late, id=earlier)
    lock = text("SELECT 1 FROM matters WHERE workflow_id = :id FOR UPDATE NOWAIT")

    async def wake() -> list[str]:
        async with database.tenant(customer.uuid) as connection:
            kinds = (SUBSCRIPTION, PURCHASE)
            found = await store.wake_open(connection, customer.uuid, kinds, real_now())
        return sorted(one.workflow_id for one in found)

    async with database.tenant(customer.uuid) as connection:
        await connection.execute(lock, {"id": earlier})
        waking = asyncio.create_task(wake())
        await asyncio.wait([waking], timeout=0.5)
        assert not waking.done(), "it waits for the first"
        await connection.execute(lock, {"id": later})
    assert await waking == [earlier, later]
