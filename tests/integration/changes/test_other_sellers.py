"""Another seller takes over within a period: each one's invoices and notes are of its own sales."""

from tests.integration.actors import Actors
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.chosen_plans import LATER, change, lines
from tests.integration.money_seen import charged
from tests.integration.taxes.sellers import sold_from


async def test_time_that_another_seller_sold_is_credited_on_its_own_invoice(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await sold_from(customer, "DE")
    await customer.subscribed("basic")
    await customer.advance(to=LATER)
    await sold_from(customer, "FR")
    await change(customer, plan="pro")
    assert (await lines(customer))[1] == [("plan", 3319)]
    assert await charged(customer) == [1900, 3319]
    [note] = await customer.rows(
        "SELECT n.amount_minor, i.total_minor FROM credit_notes n"
        " JOIN invoices i ON i.id = n.invoice_id WHERE i.account_id = %(me)s"
    )
    assert note == {"amount_minor": 1287, "total_minor": 1900}
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 1287
    # Within the time of one seller it lowers the next invoice, as ever.
    await change(customer, plan="enterprise")
    assert [kind for kind, _ in (await lines(customer))[2]] == ["proration", "plan"]
