"""Use beyond the plan that nobody will pay is bounded by the plan's unpaid limit: 100.00 USD."""

from billing.core.ids import INVOICE, encode
from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import RENEWAL, START, use
from tests.integration.catalog.test_open_currency import currency_of
from tests.integration.operator_acts import void
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for

TOO_MUCH = "5501"
"""Beyond the 500 AI responses of basic: 100.02 USD."""


async def refused(customer: Customer, amount: str, at: str | None = None) -> Json:
    """Use that the unpaid limit refuses."""
    body = {"feature_type": "ai_responses", "usage_amount": amount}
    more = {"occurred_at": at} if at else {}
    return await customer.refused("UNPAID_LIMIT", "POST", "/usage/record", body | more)


async def taken_back(actors: Actors, customer: Customer, *, amount: int | None = None) -> str:
    """A bank takes the last payment, or an amount of it, in a dispute that is lost; its id."""
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    opened = await actors.sandbox.dispute(intent, "general", amount=amount)
    await disputed(actors, customer, "open")
    dispute: str = opened.body["id"]
    await actors.sandbox.finish_dispute(dispute, "lost")
    await disputed(actors, customer, "lost")
    return dispute


async def test_late_overage_of_a_trial_that_nobody_paid_ends_at_the_unpaid_limit(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await customer.advance(days=16)
    assert (await customer.subscription())["status"] == "canceled"
    within = "2027-01-10T10:00:00Z"
    assert (await refused(customer, TOO_MUCH, within))["unpaid"] == "0"
    assert (await use(customer, "5000", within))["total_cost"] == "90.00"
    assert (await refused(customer, "501", within))["unpaid"] == "90.00"

    assert await currency_of(customer) is None
    await customer.advance(days=2)  # what came late has an invoice of its own
    assert await currency_of(customer) == "USD"
    assert (await refused(customer, "501", within))["unpaid"] == "90.00"
    assert (await use(customer, "500", within))["total_cost"] == "10.00"
    await refused(customer, "1", within)


async def test_late_overage_of_an_unpaid_subscription_ends_at_the_unpaid_limit(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "1500")  # 20.00 on the invoice that stays unpaid
    await customer.advance(days=25)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=20)
    assert (await customer.subscription())["status"] == "unpaid"
    within = "2027-01-20T10:00:00Z"
    assert (await refused(customer, "4001", within))["unpaid"] == "20.00"
    assert (await use(customer, "4000", within))["total_cost"] == "80.00"
    await refused(customer, "1", within)


async def test_late_overage_of_a_customer_who_pays_is_not_bounded(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.advance(to=RENEWAL)
    late = await use(customer, "50500", "2027-01-20T10:00:00Z")
    assert late["total_cost"] == "1000.00"
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.advance(days=1)
    assert (await use(customer, "50", "2027-01-20T10:00:00Z"))["total_cost"] == "1.00"


async def test_a_debt_that_was_given_up_bounds_the_overage_of_the_next_subscription(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "1500")
    await customer.script("insufficient_funds", then="last")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.advance(days=12)
    debt = (await customer.invoices())[-1]
    assert (debt["status"], debt["amount_due_minor"]) == ("uncollectible", 2000)
    await customer.script("succeed", then="last")
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    assert (await refused(customer, "4501"))["unpaid"] == "20.00"
    assert (await use(customer, "1500"))["total_cost"] == "20.00"
    assert (await refused(customer, "3001"))["unpaid"] == "40.00"
    await customer.advance(days=40)
    assert (await refused(customer, "4501"))["unpaid"] == "20.00", "also behind a paid renewal"

    path = f"/billing/invoices/{encode(INVOICE, debt['id'])}/pay"
    await customer.ask("POST", path, {}, key="k", status=200)

    assert (await use(customer, "10500"))["total_cost"] == "200.00"


async def test_a_debt_that_is_given_up_while_past_due_bounds_what_follows(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    assert (await customer.subscription())["status"] == "past_due"
    debt = encode(INVOICE, (await customer.invoices())[-1]["id"])
    path = f"/admin/invoices/{debt}/mark-uncollectible"
    await actors.operate("POST", path, {"reason": "gone"}, key="u")
    await customer.until_subscription("active")
    await refused(customer, TOO_MUCH)


async def test_overage_in_a_trial_ends_at_the_unpaid_limit(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await refused(customer, TOO_MUCH)
    assert (await use(customer, "5000"))["total_cost"] == "90.00"
    assert (await refused(customer, "501"))["unpaid"] == "90.00"
    assert (await use(customer, "500"))["total_cost"] == "10.00"
    await refused(customer, "1")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.advance(days=1)
    await refused(customer, "1", START)


async def test_who_pays_after_a_trial_is_bounded_no_more(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic", trial=True)
    assert (await use(customer, "5500"))["total_cost"] == "100.00"
    await customer.advance(days=15)
    assert (await customer.subscription())["status"] == "active"
    assert (await use(customer, "50500"))["total_cost"] == "1000.00"


async def test_overage_whose_money_a_bank_took_back_counts_until_the_bank_returns_it(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "4500")
    await customer.advance(to=RENEWAL)
    dispute = await taken_back(actors, customer, amount=8000)
    assert (await customer.subscription())["status"] == "active"

    assert (await refused(customer, "1501"))["unpaid"] == "80.00"
    assert (await use(customer, "1500"))["total_cost"] == "20.00"
    await refused(customer, "1")
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert (await refused(customer, "1501"))["unpaid"] == "80.00"

    await actors.sandbox.finish_dispute(dispute, "won")
    await disputed(actors, customer, "won")
    assert (await use(customer, "50500"))["total_cost"] == "1000.00"


async def test_overage_is_not_bounded_by_what_a_bank_took_of_an_invoice_whose_use_was_voided(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    wrong = await use(customer, "4500")
    await customer.advance(to=RENEWAL)
    assert (await void(actors, wrong))["balance_cents"] == 8000
    await taken_back(actors, customer, amount=900)
    assert (await customer.subscription())["status"] == "active"
    assert (await use(customer, "50500"))["total_cost"] == "1000.00"


async def test_overage_is_not_bounded_by_what_a_bank_took_a_year_ago(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "5500")
    await customer.advance(to=RENEWAL)
    await taken_back(actors, customer, amount=10_000)
    await refused(customer, "501")
    await customer.advance(to="2028-02-02T10:00:00Z")
    assert (await use(customer, "50500"))["total_cost"] == "1000.00"


async def test_a_use_that_a_card_pays_at_once_is_not_bounded_by_what_a_bank_took(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()

    async def by_card(units: str) -> Json:
        body = {"product_id": "gpt-4", "usage_amount": units, "billing_method": "payment_charge"}
        body |= {"event_id": f"by-card-{units}"}
        return await customer.ask("POST", "/usage/record", body, status=201)

    assert (await by_card("60000"))["total_cost"] == "120.00"
    await taken_back(actors, customer)

    assert (await by_card("5000"))["total_cost"] == "10.00"
    later = {"product_id": "gpt-4", "usage_amount": "1", "on_insufficient": "defer"}
    told = await customer.refused("UNPAID_LIMIT", "POST", "/usage/record", later)
    assert told["unpaid"] == "120.00"
