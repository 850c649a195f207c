"""A step's first try is within the workflow's own task; what fails is an activity, in sight."""

import asyncio
import base64
import json
from itertools import pairwise
from typing import Any, Final

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError, RPCStatusCode

from tests.integration.actors import Actors, Customer, wait_for
from tests.replay.payloads import steps_at_once

PURCHASE: Final = """
    SELECT workflow_id FROM matters WHERE account_id = %(me)s AND kind = 'purchase'
"""
STATUS: Final = "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'purchase'"
SUBSCRIPTION: Final = """
    SELECT workflow_id FROM matters WHERE account_id = %(me)s AND kind = 'subscription'
"""


async def events(actors: Actors, name: str) -> list[dict[str, Any]]:
    history = await actors.temporal.get_workflow_handle(name).fetch_history()
    found: list[dict[str, Any]] = json.loads(history.to_json())["events"]
    return found


def activities(told: list[dict[str, Any]]) -> list[str]:
    asked = (one.get("activityTaskScheduledEventAttributes") for one in told)
    return [one["activityType"]["name"] for one in asked if one]


def tasks(told: list[dict[str, Any]]) -> int:
    """The number of workflow tasks, each with all in which it goes on: while a step takes longer
    than a task may, as on a busy machine, a task ends with nothing done, and the next one follows
    at once.
    """
    kinds = [one["eventType"].removeprefix("EVENT_TYPE_WORKFLOW_") for one in told]
    kinds = [one for one in kinds if one != "EXECUTION_UPDATE_ACCEPTED"]
    both = ("TASK_COMPLETED", "TASK_SCHEDULED")
    return kinds.count("TASK_COMPLETED") - list(pairwise(kinds)).count(both)


async def test_a_purchase_needs_no_activity(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small")
    await customer.pay(begun)
    name = f"purchase/{begun['purchase_id']}"
    await actors.temporal.get_workflow_handle(name).result()
    told = await events(actors, name)
    assert activities(told) == []
    assert steps_at_once(told) == ["purchase.open", "purchase.check"]
    assert tasks(told) == 2


async def test_a_workflow_is_born_with_what_operators_find_it_by(actors: Actors) -> None:
    """Until its status changes, nothing of it is written again. No worker of 0.1.0 takes an
    argument that names no workflow.
    """
    customer = await actors.customer()
    await customer.subscribe("pro")
    (row,) = await customer.rows(SUBSCRIPTION)
    await wait_for(lambda: opened(actors, row["workflow_id"]), "its first payment is opened")
    told = await events(actors, row["workflow_id"])
    begins = told[0]["workflowExecutionStartedEventAttributes"]
    shown = {
        name: clear(value) for name, value in begins["searchAttributes"]["indexedFields"].items()
    }
    assert (shown["BillingStatus"], shown["Plan"]) == ("incomplete", "pro")
    assert "workflow_id" not in clear(begins["input"]["payloads"][0])
    kinds = {one["eventType"] for one in told}
    assert "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES" not in kinds
    assert steps_at_once(told) == ["subscription.open"]


async def opened(actors: Actors, name: str) -> bool:
    return bool(steps_at_once(await events(actors, name)))


def clear(payload: dict[str, str]) -> Any:
    return json.loads(base64.b64decode(payload["data"]))


async def test_a_step_that_fails_goes_on_as_an_activity_that_operators_see(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    away = await failing(customer, "/v1/payment_intents")
    buying = asyncio.create_task(customer.buy("small"))
    (row,) = await wait_for(lambda: customer.rows(PURCHASE), "the purchase is begun")
    handle = actors.temporal.get_workflow_handle(str(row["workflow_id"]))
    await wait_for(lambda: tried_again(handle), "an activity shows its tries and failure")
    await actors.sandbox.clear("faults", away)
    await customer.pay(await buying)
    await handle.result()
    told = await events(actors, handle.id)
    assert activities(told) == ["purchase.open"]
    assert steps_at_once(told) == ["purchase.open", "purchase.check"]


async def test_a_charge_that_fails_behind_its_renewal_is_tried_under_its_own_name(
    actors: Actors,
) -> None:
    """The renewal was done, and Temporal's page, the audit and the metrics said that it failed."""
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    begun = await customer.subscribed("pro")
    handle = actors.temporal.get_workflow_handle(f"subscription/{begun['subscription_id']}")
    away = await failing(customer, "/v1/payment_intents")
    await customer.aim_clock(to="2027-02-01T10:00:00Z")
    await wait_for(lambda: tried_again(handle), "an activity shows its tries and failure")
    done = await customer.rows("SELECT name FROM steps WHERE account_id = %(me)s")
    assert {"name": "renew"} in done
    pending = (await handle.describe()).raw_description.pending_activities
    assert [one.activity_type.name for one in pending] == ["subscription.charge"]
    await actors.sandbox.clear("faults", away)
    await wait_for(customer.effects, "the renewal is paid", lambda seen: len(seen) == 2)
    told = await events(actors, handle.id)
    assert activities(told) == ["subscription.charge"]
    assert steps_at_once(told).count("subscription.renew") == 1


async def failing(customer: Customer, path: str) -> int:
    """Stripe answers 500 to calls for this customer; return the fault's number."""
    return await customer.actors.sandbox.fault(
        "error_500_unstored", path=path, customer=await customer.stripe_customer(), times=None
    )


async def tried_again(handle: WorkflowHandle[Any, Any]) -> bool:
    """True once an activity of it has failed and shows why."""
    try:
        pending = (await handle.describe()).raw_description.pending_activities
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False  # its row is there before its workflow
        raise
    return any(one.attempt > 1 and one.HasField("last_failure") for one in pending)


async def test_a_cancellation_during_a_step_ends_the_run_and_the_sweep_begins_another(
    actors: Actors,
) -> None:
    """It halted the matter: a payer waited an hour for a provider that was well again."""
    customer = await actors.customer()
    await customer.save_card()
    away = await failing(customer, "/v1/payment_intents")
    begun = await customer.buy("small")
    (row,) = await wait_for(lambda: customer.rows(PURCHASE), "the purchase is begun")
    name = str(row["workflow_id"])
    handle = actors.temporal.get_workflow_handle(name)
    await wait_for(lambda: tried_again(handle), "its step is tried again")
    canceled = actors.temporal.get_workflow_handle(name, run_id=(await handle.describe()).run_id)
    await canceled.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await canceled.result()
    assert isinstance(ended.value.cause, CancelledError)
    assert (await customer.rows(STATUS))[0]["status"] == "open"
    await actors.sandbox.clear("faults", away)
    await wait_for(
        lambda: customer.purchase(begun["purchase_id"]), "its payer is asked to confirm",
        lambda seen: seen["next_action"]["type"] == "confirm_card", patience=40,
    )  # fmt: skip
