"""The months of a yearly plan bring their credits once the year is paid, and not before."""

from billing.core import ids
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.operator_acts import check_books

START = "2027-01-01T10:00:00Z"
SECOND_YEAR = "2028-01-01T10:00:00Z"


async def in_its_second_year(actors: Actors) -> tuple[Customer, str]:
    """A yearly customer whose bank is processing the renewal, and the intent of it."""
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("pro", interval="year", payment_method="default")
    await customer.until_subscription("active")
    await customer.advance(to="2027-12-15T10:00:00Z")
    assert len(await customer.grants("plan")) == 12
    await customer.script("processing")
    await customer.advance(to=SECOND_YEAR)
    rows = await customer.rows(
        "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
        " AND status = 'processing'"
    )
    return customer, str(rows[0]["id"])


async def test_the_months_of_a_year_that_nobody_has_paid_bring_no_credits(actors: Actors) -> None:
    customer, intent = await in_its_second_year(actors)
    await customer.advance(to="2028-03-10T10:00:00Z")
    assert len(await customer.grants("plan")) == 12
    assert await customer.credits() == 0
    await check_books(customer)
    assert (await actors.sandbox.settle(intent)).status == 200
    await wait_for(customer.credits, "the month that runs has its credits", lambda n: n == 500)
    await check_books(customer)
    await customer.advance(to="2028-04-10T10:00:00Z")
    assert len(await customer.grants("plan")) == 14
    assert await customer.credits() == 500
    await check_books(customer)


async def test_a_year_on_an_open_invoice_brings_credits_once_it_is_paid(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe_by_transfer("pro", interval="year", days_until_due=60, trial=True)
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "active"
    before = len(await customer.grants("plan"))
    [invoice] = await customer.invoices()
    assert invoice["status"] == "open"
    assert await customer.credits() == 0
    body = {
        "invoice_id": ids.encode(ids.INVOICE, invoice["id"]), "payment_method": "bank_transfer",
        "transaction_reference": "T-1",
    }  # fmt: skip
    sent = await customer.ask("POST", "/billing/payments/manual", body)
    await actors.operate("POST", f"/admin/payments/{sent['payment_id']}/approve", {})
    await wait_for(customer.credits, "the month that runs has its credits", lambda n: n == 500)
    assert len(await customer.grants("plan")) == before + 1
    await check_books(customer)


async def test_an_end_at_the_boundary_of_a_month_brings_no_credits_of_that_month(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("pro", interval="year", payment_method="default")
    await customer.until_subscription("active")
    await customer.advance(to="2027-03-10T10:00:00Z")
    ends = "2027-04-01T10:00:00Z"
    await customer.ask("POST", "/billing/subscription/cancel", {"cancel_at": ends}, status=200)
    await customer.advance(to=ends)
    assert (await customer.subscription())["status"] == "canceled"
    assert len(await customer.grants("plan")) == 3
    await check_books(customer)
