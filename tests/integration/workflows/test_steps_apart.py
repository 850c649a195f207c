"""No step of an account waits for another one that fails."""

import asyncio
from datetime import timedelta

from billing.core.clock import real_now
from tests.integration.actors import Actors, wait_for
from tests.integration.workflows.test_at_once import failing, tried_again


async def test_a_failing_step_of_an_account_lets_the_others_go_first(actors: Actors) -> None:
    """While Stripe was away nothing else of the account was done, such as an agreed limit."""
    customer = await actors.customer()
    await customer.save_card()
    away = await failing(customer, "/v1/setup_intents")
    saving = asyncio.create_task(customer.call("POST", "/billing/payment-methods/setup-intent"))
    handle = actors.temporal.get_workflow_handle(f"account/{customer.id}")
    await wait_for(lambda: tried_again(handle), "the setup is tried again")
    begins = (real_now() + timedelta(seconds=1)).isoformat()
    limit = {"included": "7", "then": "block", "effective_from": begins}
    path = f"/admin/accounts/{customer.id}/limits/ai_responses"
    await actors.operate("PUT", path, limit)
    done = "SELECT 1 FROM steps WHERE account_id = %(me)s AND name = 'limits'"
    await wait_for(lambda: customer.rows(done), "the limit begins", patience=100)
    await wait_for(lambda: tried_again(handle), "and the setup still fails")

    await actors.sandbox.clear("faults", away)
    assert (await saving).status_code in {201, 202}
