"""From a request to its Stripe call: one correlation id in the lines of API, worker and gateway."""

import json
from functools import partial
from typing import Any
from uuid import uuid4

from devstack.stack import StackInfo
from tests.integration.actors import API, Actors, Customer, wait_for
from tests.integration.waiting import body_of


async def send(
    customer: Customer, correlation_id: str, method: str, path: str, body: dict[str, Any]
) -> Any:
    """A request of the account's own staff under an id of theirs."""
    headers = customer.actors.headers(customer.id, "billing", str(uuid4()))
    answer = await customer.actors.client.request(
        method, f"{API}{path}", json=body, headers=headers | {"X-Correlation-Id": correlation_id}
    )
    return body_of(answer, None)


def lines(stack: StackInfo, process: str, correlation_id: str) -> list[dict[str, Any]]:
    """The lines that a process logged under an id."""
    text = (stack.logs / f"{process}.log").read_text()
    found = [json.loads(line) for line in text.splitlines() if correlation_id in line]
    return [line for line in found if line["correlation_id"] == correlation_id]


async def test_one_id_leads_from_a_request_to_its_stripe_call(
    stack: StackInfo, actors: Actors
) -> None:
    customer, mine = await actors.customer(), f"cart-{uuid4()}"
    await customer.save_card()
    body = {"pack": "small", "payment_method": "saved_card"}
    bought = await send(customer, mine, "POST", "/billing/purchases", body)
    await customer.until_purchase(bought["purchase_id"], "completed")

    (line,) = lines(stack, "api", mine)
    assert line["event"].startswith("POST /api/v1/billing/purchases: 20")
    assert line["account"] == customer.id
    assert line["actor"].startswith("billing:")
    assert line["milliseconds"] > 0

    (intent,) = await actors.sandbox.requests(
        name="POST /v1/payment_intents", metadata={"account": customer.id}
    )
    assert mine in str(intent)

    worked = lines(stack, "worker", mine)
    assert {line["account"] for line in worked} == {customer.id}
    assert {line["actor"] for line in worked} == {f"workflow:purchase/{bought['purchase_id']}"}
    assert "purchase.open: done" in {line["event"] for line in worked}
    calls = [line for line in worked if line["logger"] == "gateways.stripe"]
    (confirmed,) = [line for line in calls if line["event"].endswith("/confirm: 200")]
    assert confirmed["stripe_request"].startswith("req_")
    assert "/attempt-" in confirmed["idempotency"]


async def test_a_workflow_that_runs_already_works_under_the_id_of_who_asked_last(
    stack: StackInfo, actors: Actors
) -> None:
    customer = await actors.customer()
    first, second = f"first-{uuid4()}", f"second-{uuid4()}"
    body = {"plan": "basic", "trial": False}
    begun = await send(customer, first, "POST", "/billing/subscription", body)
    await customer.pay(begun)
    await customer.until_subscription("active")

    # The webhook of the payment has an id of its own; the work goes on under the first.
    async def told(correlation_id: str) -> set[str]:
        return {line["event"] for line in lines(stack, "worker", correlation_id)}

    await wait_for(
        partial(told, first),
        "the worker handles the payment under the first id",
        lambda events: "subscription.check: done" in events,
    )
    await send(customer, second, "POST", "/billing/subscription/cancel", {})
    await wait_for(partial(told, second), "the worker works under the second id", bool)
