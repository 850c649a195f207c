"""An event reaches the matter that collects its payment now, whoever collected it when it came."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from billing.core import ids
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.locked import other_session, waiting_behind

START = "2027-01-01T10:00:00Z"
RENEWAL = "2027-02-01T10:00:00Z"
END = "2027-03-01T10:00:00Z"
EVENTS = """
    SELECT stripe_event_id, workflow_id, status FROM stripe_webhook_events
    WHERE account_id = %(me)s AND type = 'payment_intent.succeeded'
"""


@asynccontextmanager
async def ending(actors: Actors, customer: Customer, invoice_id: str) -> AsyncIterator[None]:
    """The subscription ends, and has not committed yet that another matter collects its invoice."""
    async with other_session(actors.stack) as holder:
        await holder.execute(
            "INSERT INTO matters (workflow_id, account_id, kind, subject_id, status, created_at,"
            " woken_at) VALUES (%s, %s, 'collection', %s, 'closed', now(), now())",
            (f"collection/{invoice_id}", customer.uuid, ids.decode(ids.INVOICE, invoice_id)),
        )
        await customer.aim_clock(to=END)
        await waiting_behind(actors, holder)
        yield
        await holder.rollback()


async def event(customer: Customer) -> Json:
    (row,) = await customer.rows(EVENTS)
    return row


async def test_money_that_comes_while_its_subscription_ends_is_booked(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe_by_transfer("pro", days_until_due=60)
    first = f"/admin/invoices/{begun['latest_invoice_id']}/record-payment"
    await actors.operate("POST", first, {"amount_cents": 4900, "reference": "R1"}, key="first")
    await customer.until_subscription("active")
    await customer.advance(to=RENEWAL)
    await actors.operate(
        "POST", "/billing/subscription/cancel", {"cancel_at_period_end": True}, account=customer.id
    )
    invoice = ids.encode(ids.INVOICE, (await customer.invoices())[-1]["id"])
    offered = await customer.ask(
        "POST", f"/billing/invoices/{invoice}/pay", {"payment_method": "card"}, key="k", status=200
    )
    await customer.advance(to="2027-03-01T09:30:00Z")
    async with ending(actors, customer, invoice):
        await customer.pay(offered)
        came = await wait_for(lambda: customer.rows(EVENTS), "the event comes")
        assert (came[0]["workflow_id"], came[0]["status"]) == (
            f"subscription/{begun['subscription_id']}",
            "received",
        )
    collection = f"collection/{invoice}"

    async def heard() -> Json:
        return await event(customer)

    seen = await wait_for(heard, "it is heard", lambda row: row["status"] == "handled")
    assert seen["workflow_id"] == collection
    *_, bill = await customer.invoices()
    assert (bill["status"], bill["workflow_id"]) == ("paid", collection)

    # As one is stored that came before: it is replayed to the matter that collects now.
    await customer.rows(
        "UPDATE stripe_webhook_events SET workflow_id = %(before)s WHERE stripe_event_id = %(id)s",
        before=f"subscription/{begun['subscription_id']}",
        id=seen["stripe_event_id"],
    )
    path = f"/admin/webhooks/{seen['stripe_event_id']}/replay"
    again = await actors.operate("POST", path, status=200)
    assert (again["status"], again["workflow_id"]) == ("handled", collection)
