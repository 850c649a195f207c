"""Unpaid use of a subscription that has ended counts against the unpaid limit of the account's next
one, until it is paid, voided or credited.
"""

from billing.core.ids import INVOICE, encode
from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import START, use
from tests.integration.arrears.test_unpaid_overage import refused
from tests.integration.waiting import wait_for

OVERDUE = "SELECT id FROM dunning_cases WHERE account_id = %(me)s AND invoice_id = %(invoice)s"


async def begun(actors: Actors) -> Customer:
    """A customer with a first subscription, whose card pays nothing but first payments."""
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await subscribed_again(customer)
    return customer


async def subscribed_again(customer: Customer) -> None:
    """One more subscription, whose first payment succeeds and whose others are declined."""
    await customer.script("succeed", then="last")
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    await customer.script("insufficient_funds", then="last")


async def ended_unpaid(customer: Customer) -> str:
    """End the subscription now; the invoice of its use, which stays unpaid."""
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    invoice = (await customer.invoices())[-1]
    assert invoice["status"] == "open"
    await wait_for(
        lambda: customer.rows(OVERDUE, invoice=invoice["id"]), "its card is declined", patience=15
    )
    return encode(INVOICE, invoice["id"])


async def test_the_unpaid_limit_does_not_begin_anew_with_each_subscription(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "3500")
    first = await ended_unpaid(customer)
    await subscribed_again(customer)
    assert (await refused(customer, "2501"))["unpaid"] == "60.00"
    assert (await use(customer, "1500"))["total_cost"] == "20.00"
    await ended_unpaid(customer)
    await subscribed_again(customer)
    assert (await refused(customer, "1501"))["unpaid"] == "80.00"
    deferred = {"product_id": "gpt-4", "usage_amount": "500000", "on_insufficient": "defer"}
    assert (await customer.refused("UNPAID_LIMIT", "POST", "/usage/record", deferred))[
        "unpaid"
    ] == "80.00"

    await customer.script("succeed", then="last")
    await customer.ask("POST", f"/billing/invoices/{first}/pay", {}, key="pay", status=200)

    assert (await refused(customer, "4501"))["unpaid"] == "20.00"
    assert (await use(customer, "4500"))["total_cost"] == "80.00"


async def test_what_was_credited_or_voided_of_an_ended_subscription_counts_no_more(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await use(customer, "3500")
    first = await ended_unpaid(customer)
    await subscribed_again(customer)
    await use(customer, "1000")
    second = await ended_unpaid(customer)
    await subscribed_again(customer)
    assert (await refused(customer, "2001"))["unpaid"] == "70.00"

    credit = {"reason": "part of it was wrong", "lines": [{"position": 1, "amount_cents": 1500}]}
    await actors.operate("POST", f"/admin/invoices/{first}/credit-note", credit, key="c")
    assert (await refused(customer, "2751"))["unpaid"] == "55.00"
    await actors.operate("POST", f"/admin/invoices/{second}/void", {"reason": "wrong"}, key="v")
    assert (await refused(customer, "3251"))["unpaid"] == "45.00"
