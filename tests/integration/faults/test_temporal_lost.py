"""Temporal's database is lost: one rebuild gives every open matter its workflow again.

tests/integration/rebuild has customers in every state, and the command; it is left to WHOLE=1.
"""

import asyncio

from cli.rebuild import rebuild
from cli.workflow_check import compare_workflows
from tests.integration.actors import Actors, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.credits.accounts import open_pools


async def test_after_a_loss_of_temporal_what_was_begun_can_be_paid_and_renews_once(
    doomed: Actors,
) -> None:
    subscriber, buyer = await doomed.customer_on_clock(), await doomed.customer()
    await subscriber.subscribed("pro")
    begun = await buyer.buy("small")
    await doomed.control.stop("worker")
    await doomed.control.reset_temporal()
    await doomed.control.start("worker")

    done = await rebuild(stack_settings(doomed.stack), lambda *_: None, 0)
    assert (done.open_matters >= 2, done.late) == (True, ())

    database = open_pools(doomed.stack, 2)

    async def differing() -> list[str]:
        findings = await compare_workflows(database, doomed.temporal)
        return [name for one in findings for name in one.examples]

    await wait_for(differing, "Temporal runs what is open", lambda seen: not seen)
    await database.close()
    await asyncio.gather(subscriber.advance(days=31), buyer.pay(begun))
    await buyer.until_purchase(begun["purchase_id"], "completed")
    assert [effect["amount"] for effect in await subscriber.effects()] == [4900, 4900]
    assert len(await subscriber.grants("plan")) == 2
    assert len(await buyer.grants()) == 1
