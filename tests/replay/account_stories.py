"""The recorded lives of accounts themselves: credits, uses that nobody paid, cards being saved."""

import asyncio
from typing import Final

from tests.integration.actors import Actors, wait_for
from tests.integration.arrears.deferred_uses import put_off, until
from tests.integration.operator_acts import give
from tests.integration.workflows.test_at_once import failing
from tests.integration.workflows.test_steps_apart import FORGET_IT, halted_at_a_limit
from tests.replay.cast import START, Story, live, on_clock, subscribed

SETUPS: Final = "/v1/setup_intents"
TRIES: Final = 4


async def account_expires(actors: Actors) -> str:
    """A card is saved, and a cycle's credits end."""
    customer, _ = await subscribed(actors)
    await customer.save_card("pm_card_mastercard")
    await customer.advance(days=35)
    return f"account/{customer.id}"


async def account_bills_late_use(actors: Actors) -> str:
    """Use that is told after the end of its subscription has an invoice of its own."""
    customer, _ = await subscribed(actors, "basic")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    body = {"feature_type": "ai_responses", "usage_amount": "600", "occurred_at": START}
    await customer.ask("POST", "/usage/record", body, status=201)
    await customer.advance(days=2)
    return f"account/{customer.id}"


async def account_completes_uses(actors: Actors) -> str:
    """A closed cycle of more uses than one transaction completes."""
    customer, _ = await subscribed(actors, "basic")
    rows = [{"feature_type": "ai_responses", "usage_amount": "1"}] * 1_000
    for _ in range(6):
        await customer.ask("POST", "/usage/batch", {"events": rows}, status=200)
    await customer.advance(days=31)
    return f"account/{customer.id}"


async def account_settles_uses(actors: Actors) -> str:
    """Credits that are granted pay a use that was put off."""
    customer = await on_clock(actors)
    path = await put_off(customer, "1000")
    await give(customer, "3")
    await until(customer, path, "completed")
    return f"account/{customer.id}"


async def account_charges_uses(actors: Actors) -> str:
    """A use stays unpaid for a week: its customer is told, and its card is asked."""
    customer = await on_clock(actors)
    await customer.save_card()
    await put_off(customer, "1000")
    await customer.script("processing", then="last")
    await customer.advance(days=8)
    return f"account/{customer.id}"


async def account_does_others_first(actors: Actors) -> str:
    """A card cannot be saved while Stripe is away; a use is paid meanwhile."""
    customer = await live(actors)
    await customer.save_card()
    away = await failing(customer, "/v1/setup_intents")
    saving = asyncio.create_task(customer.call("POST", "/billing/payment-methods/setup-intent"))

    async def tried_again() -> bool:
        return len([one for one in await customer.requests() if SETUPS in one["path"]]) > TRIES

    await wait_for(tried_again, "the setup is tried again")
    path = await put_off(customer, "1000")
    await give(customer, "3")
    await until(customer, path, "completed")
    await actors.sandbox.clear("faults", away)
    assert (await saving).status_code in {201, 202}
    return f"account/{customer.id}"


async def account_goes_on(actors: Actors) -> str:
    """A step halts it and is planned no longer: it goes on, and Temporal shows so."""
    customer = await live(actors)
    run = actors.temporal.get_workflow_handle(f"account/{customer.id}")
    async with halted_at_a_limit(customer):
        await customer.rows(FORGET_IT)
        await run.signal("changed")
        await run.result()
    return run.id


ACCOUNT_STORIES: Final[tuple[Story, ...]] = (
    account_expires,
    account_bills_late_use,
    account_completes_uses,
    account_settles_uses,
    account_charges_uses,
    account_does_others_first,
    account_goes_on,
)
