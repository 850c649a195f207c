"""First payments by transfer of subscriptions whose first period is over before 14 days are."""

from tests.integration.actors import Actors, wait_for
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.payments.manual_payments import decide, submit


async def test_a_short_first_period_leaves_a_transfer_its_days(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-28T10:00:00Z")
    begun = await customer.subscribe_by_transfer(billing_day=1)
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert (await customer.subscription())["status"] == "incomplete"
    payment = await submit(customer, begun["latest_invoice_id"])
    await customer.advance(to="2027-02-03T10:00:00Z")
    await decide(customer, payment, "approve")
    seen = await customer.until_subscription("active")
    period = seen["current_period_start"], seen["current_period_end"]
    assert period == ("2027-02-03T10:00:00Z", "2027-03-01T10:00:00Z")
    told = await customer.published()
    for kind in ("subscription.activated", "subscription.restarted"):
        assert told.count(f"evt.billing.{kind}") == 1
    # Four of 31 days, which nobody has served, pay for a part of 26 of 28.
    sums = [(one["total_minor"], one["amount_due_minor"]) for one in await customer.invoices()]
    assert sums == [(245, 245), (1764, 1519)]
    assert await money(customer) == 0
    assert await customer.credits() == 0
    use = {"feature_type": "ai_responses", "usage_amount": "1"}
    used = await customer.ask("POST", "/usage/record", use, status=201)
    assert used["is_included_in_subscription"]
    await check_books(customer)
    rest = await submit(customer, seen["latest_invoice_id"])
    await decide(customer, rest, "approve")
    await wait_for(customer.credits, "they come with the money", lambda n: 92 < n < 93)
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert (await customer.invoices())[-1]["total_minor"] == 1900
    await check_books(customer)


async def test_a_transfer_that_never_comes_is_waited_for_as_long(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-28T10:00:00Z")
    await customer.subscribe_by_transfer(billing_day=1)
    await customer.advance(to="2027-02-11T09:59:59Z")
    assert (await customer.subscription())["status"] == "incomplete"
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert (await customer.subscription())["status"] == "incomplete_expired"
