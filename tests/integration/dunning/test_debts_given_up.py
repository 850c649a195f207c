"""Debts that were given up while it is unpaid: nobody settles them by settling another."""

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import use
from tests.integration.arrears.test_thresholds import threshold, tick
from tests.integration.dunning.dunning_setup import START, owed
from tests.integration.payments.test_transfers import approved, sent


async def with_two_debts(
    actors: Actors, net: int = 3, used: str = "2027-01-25T10:00:00Z"
) -> tuple[Customer, str, str]:
    """Of who is sent invoices: an early one for use and that of the period after it are unpaid."""
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe_by_transfer("basic", days_until_due=net)
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")
    await threshold(customer, 500)
    await customer.advance(to=used)
    await use(customer, "1000")
    await tick(customer)
    early = (await owed(customer))["invoice_id"]
    await customer.advance(to="2027-02-24T12:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    listed = await customer.ask("GET", "/billing/invoices?status=pending", status=200)
    (period,) = {one["invoice_id"] for one in listed["invoices"]} - {early}
    return customer, early, period


async def told(customer: Customer, invoice: str, verb: str) -> None:
    """An operator's word on an invoice."""
    path = f"/admin/invoices/{invoice}/{verb}"
    await customer.actors.operate("POST", path, {"reason": "insolvent"}, key=f"{invoice}/{verb}")
    await customer.advance(days=1)


async def test_no_dunning_begins_of_what_is_given_up_before_it_is_due(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe_by_transfer("basic", days_until_due=30)
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")
    await threshold(customer, 500)
    await use(customer, "1000")
    await tick(customer)
    await told(customer, (await owed(customer))["invoice_id"], "mark-uncollectible")
    facts = await customer.published()
    assert "evt.billing.invoice.uncollectible" in facts
    assert not [one for one in facts if one.startswith("evt.billing.dunning.")]


@pytest.mark.parametrize("at", ["2027-02-26T12:00:00Z", "2027-03-02T10:00:00Z"])
@pytest.mark.parametrize("is_use", [True, False])
async def test_what_was_given_up_is_not_settled_with_another_debt(
    actors: Actors, at: str, *, is_use: bool
) -> None:
    customer, early, period = await with_two_debts(actors)
    gone, other = (early, period) if is_use else (period, early)
    await told(customer, gone, "mark-uncollectible")
    await customer.advance(to=at)
    await told(customer, other, "void")
    assert (await customer.subscription())["status"] == "unpaid"


async def test_what_was_given_up_before_it_was_due_is_not_settled_with_another_debt(
    actors: Actors,
) -> None:
    customer, early, period = await with_two_debts(actors, 30, "2027-01-12T10:00:00Z")
    await told(customer, period, "mark-uncollectible")
    await told(customer, early, "void")
    assert (await customer.subscription())["status"] == "unpaid"
