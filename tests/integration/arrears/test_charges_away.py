"""A use that a card paid, whose month is away: its invoice and payment are there all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from billing.core import ids
from tests.integration.actors import Actors, Customer
from tests.integration.arrears.test_single_charges import use
from tests.integration.invoices.operator_commands import commanded
from tests.integration.waiting import wait_for

TAKEN = """
    DELETE FROM billing_records WHERE account_id = %(me)s
    RETURNING to_jsonb(billing_records)::text AS row
"""
PUT_BACK = """
    INSERT INTO billing_records
    SELECT * FROM jsonb_populate_record(NULL::billing_records, %(row)s::jsonb)
"""


@asynccontextmanager
async def away(customer: Customer) -> AsyncIterator[None]:
    """The customer's one record is not in the table meanwhile."""
    [kept] = await customer.rows(TAKEN)
    try:
        yield
    finally:
        await customer.rows(PUT_BACK, **kept)


async def test_the_invoice_of_a_use_that_is_away_is_corrected(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await use(customer)
    (invoice,) = await customer.invoices()
    shown = {"invoice_id": ids.encode(ids.INVOICE, invoice["id"])}
    note = {"amount_cents": 50, "reason": "goodwill", "to": "balance"}
    async with away(customer):
        await commanded(customer, shown, "credit-note", note)
        assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 50


async def test_an_event_about_a_use_that_is_away_is_looked_into(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await use(customer)
    events = (
        "SELECT stripe_event_id, status FROM stripe_webhook_events"
        " WHERE account_id = %(me)s AND workflow_id LIKE 'charge/%%'"
    )
    seen = await wait_for(
        lambda: customer.rows(events), "an event was handled",
        lambda found: "handled" in {one["status"] for one in found},
    )  # fmt: skip
    [event, *_] = [one["stripe_event_id"] for one in seen if one["status"] == "handled"]
    async with away(customer):
        await actors.operate("POST", f"/admin/webhooks/{event}/replay", {})
        await wait_for(
            lambda: customer.rows(f"{events} AND replays > 0"), "it was handled again",
            lambda found: [one["status"] for one in found] == ["handled"],
        )  # fmt: skip
