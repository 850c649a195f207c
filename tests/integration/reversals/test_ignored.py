"""Events of returned money that the release before, which did not know them, stored as ignored."""

from datetime import timedelta
from typing import Final

from temporalio.testing import ActivityEnvironment

from activities import earlier_release
from billing.core.clock import real_now
from billing.core.database import Database
from tests.integration.actors import Actors, wait_for
from tests.integration.reversals.outside_events import until_credits
from tests.integration.reversals.refunds_made import paid_for
from tests.integration.wrong_clock import wrong_clock

# With the matter of the invoice, which has nothing to do with it.
IGNORED: Final = """
    INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type, object_id,
        payload, status, created_at, received_at)
    SELECT %(event)s, p.account_id, i.workflow_id, 'charge.refunded', 'ch_1',
        jsonb_build_object('id', %(event)s::text, 'type', 'charge.refunded', 'created', 1,
            'data', jsonb_build_object('object', jsonb_build_object(
                'id', 'ch_1', 'object', 'charge', 'payment_intent', %(intent)s::text))),
        'ignored', now() - interval '20 days', now() - interval '20 days'
    FROM payments p JOIN invoices i ON i.id = p.invoice_id
    WHERE p.stripe_payment_intent_id = %(intent)s
"""
SEEN: Final = (
    "SELECT status, workflow_id FROM stripe_webhook_events WHERE stripe_event_id = %(event)s"
)
RECEIVED: Final = (
    "SELECT received_at, source FROM stripe_webhook_events WHERE stripe_event_id = %(event)s"
)


async def test_a_refund_that_was_ignored_is_booked(actors: Actors, database: Database) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    intent, payer = payment["stripe_payment_intent_id"], await customer.stripe_customer()
    dropped = await actors.sandbox.webhooks("drop", customer=payer, types=["*"])
    assert (await actors.sandbox.refund(intent, 333)).status == 200
    await customer.rows(IGNORED, event=f"evt_{intent}", intent=intent)
    before = real_now()
    with wrong_clock(timedelta(hours=25)):
        await ActivityEnvironment().run(earlier_release.make_up, database)
    (taken,) = await customer.rows(RECEIVED, event=f"evt_{intent}")
    assert taken["received_at"] >= before, "nobody is told that it had no owner for 20 days"
    assert taken["received_at"] <= real_now(), "though the worker's clock is ahead"
    assert taken["source"] == "operator", "Stripe delivers nothing"
    looked = {"status": "handled", "workflow_id": f"reversal/{payment['payment_id']}"}
    await wait_for(
        lambda: customer.rows(SEEN, event=f"evt_{intent}"), "it is looked into",
        lambda found: found == [looked],
    )  # fmt: skip
    await until_credits(customer, "66.666667")
    await actors.sandbox.clear("webhooks", dropped)
