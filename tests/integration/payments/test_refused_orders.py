"""An order that PayPal refuses and leaves approved is captured at a pace, and not forever."""

from tests.integration.actors import Actors, Customer
from tests.integration.dunning.dunning_setup import overdue, owed
from tests.integration.payments.test_paypal import BACK, begun_by_paypal, entries, order_of


async def refused(customer: Customer, order: str) -> None:
    """Its payer approves the order, and PayPal refuses them."""
    await customer.actors.sandbox.paypal_steer(order, "refused")
    await customer.actors.sandbox.paypal_approve(order)
    await customer.until_handled("CHECKOUT.ORDER.APPROVED")


async def tries(customer: Customer, order: str) -> int:
    """Count the captures that were asked for of the order."""
    (asked,) = await customer.rows(
        "SELECT workflow_id AS matter FROM payments WHERE stripe_checkout_session_id = %(order)s",
        order=order,
    )
    found = await customer.actors.sandbox.paypal(asked["matter"])
    return int(next(one["tries"] for one in found if one["id"] == order))


async def refusals(customer: Customer) -> int:
    """Count the failed entries of the list of payments."""
    return [status for status, _ in await entries(customer)].count("failed")


async def test_a_refused_order_of_a_purchase_is_captured_at_its_checks_until_it_expires(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun, order = await begun_by_paypal(customer)
    await refused(customer, order)
    assert (await tries(customer, order), await refusals(customer)) == (1, 1)
    await customer.advance(to="2027-01-01T12:30:00Z")
    assert await tries(customer, order) == 4, "after a minute, ten and sixty"
    await customer.advance(to="2027-01-02T14:00:00Z")
    await customer.until_purchase(begun["purchase_id"], "expired")
    assert (await tries(customer, order), await refusals(customer)) == (5, 1)


async def test_a_refused_order_of_an_invoice_is_captured_at_its_checks_until_paypal_ends_it(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds", policy={"days": [0, 60]})
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}"
    body = {"payment_method": "paypal", "return_url": BACK}
    order = order_of(await customer.ask("POST", f"{path}/pay", body, key="k", status=200))
    await refused(customer, order)
    await customer.advance(to="2027-02-01T13:00:00Z")
    assert await tries(customer, order) == 4
    await actors.sandbox.paypal_steer(order, "refused", expired=True)
    await customer.advance(to="2027-02-08T13:00:00Z")
    assert await tries(customer, order) == 4
    shown = await customer.ask("GET", path)
    assert shown["next_action"] == {"type": "none"}, "the order has ended"
