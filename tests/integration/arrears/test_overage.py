"""Use beyond the plan becomes money: from the record to the line, to the cent, on the engine."""

from datetime import date

import pytest

from tests.integration.actors import Actors
from tests.integration.arrears.overage_uses import RENEWAL, START, lines, records, use
from tests.integration.money_seen import charged


async def test_a_renewal_charges_what_was_used_beyond_the_plan(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "490")
    await use(customer, "20.3")
    await use(customer, "5", feature_type="document_uploads")
    assert await records(customer) == [("usage", "pending", "0.206")]

    await customer.advance(to=RENEWAL)

    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 10.3, 21)]
    assert await charged(customer) == [1900, 1921]
    assert await records(customer) == [
        ("usage", "completed", "0.206"), ("true_up", "completed", "0.004"),
    ]  # fmt: skip
    shown = (await customer.ask("GET", "/billing/records"))["data"]
    assert [one["kind"] for one in shown].count("true_up") == 1
    assert len((await customer.ask("GET", "/usage/logs"))["data"]) == 3
    stats = await customer.ask("GET", "/stats?start_date=2027-01-01&end_date=2027-02-28")
    assert (stats["pending_billing_records"], stats["completed_billing_records"]) == (0, 3)

    await customer.advance(days=28)
    assert await charged(customer) == [1900, 1921, 1900], "billed once"


async def test_a_late_use_is_a_line_of_its_own_on_the_next_invoice(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500.3")
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 0.3, 1)]
    late = await use(customer, "0.6", at="2027-01-31T12:00:00Z")
    assert late["billing_status"] == "pending"
    await use(customer, "500")
    await customer.advance(days=28)
    assert await lines(customer) == [
        (date(2027, 2, 1), "ai_responses", 0.3, 1),
        (date(2027, 3, 1), "ai_responses", 0.6, 1),
    ], "0.9 units at 2 cents are 2 cents, however often they are billed"  # fmt: skip
    assert await charged(customer) == [1900, 1901, 1901]


async def test_the_end_of_a_subscription_closes_its_last_cycle(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "700")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "period_end"})
    await use(customer, "100")
    await customer.advance(days=40)
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 300, 600)]
    assert await charged(customer) == [1900, 600]


@pytest.mark.parametrize("days", [0, 3])
async def test_an_end_now_invoices_what_was_used(actors: Actors, days: int) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.advance(days=days) if days else None
    await use(customer, "600")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.advance(days=1)
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 100, 200)]
    assert await charged(customer) == [1900, 200]


async def test_a_yearly_plan_invoices_usage_every_month(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="yearly")
    await use(customer, "600")
    await customer.advance(to="2027-03-15T00:00:00Z")
    await use(customer, "500")
    await customer.advance(to="2027-04-02T00:00:00Z")
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 100, 200)]
    assert await charged(customer) == [19000, 200]


async def test_a_few_cents_are_carried_to_the_next_invoice(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="yearly")
    await use(customer, "510")
    await customer.advance(to="2027-02-02T00:00:00Z")
    assert (await customer.invoices())[-1]["settlement"] == "carried"
    await use(customer, "600")
    await customer.advance(to="2027-03-02T00:00:00Z")
    assert await charged(customer) == [19000, 220]


async def test_usage_that_cannot_be_paid_is_recovered_like_any_debt(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "1500")
    await customer.script("insufficient_funds", then="normal")
    await customer.advance(to=RENEWAL)
    assert (await customer.subscription())["status"] == "past_due"
    ended = await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    assert ended["status"] == "canceled"
    await customer.advance(days=4)
    assert await charged(customer) == [1900, 2000], "time not served is not owed, usage is"


async def test_use_told_after_the_end_has_an_invoice_of_its_own(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "600")
    await customer.advance(days=10)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.advance(days=1)
    await use(customer, "100", at="2027-01-05T12:00:00Z")
    await use(customer, "50", at="2027-01-06T12:00:00Z")
    await customer.advance(days=2)
    assert [line[0:3:2] for line in await lines(customer)] == [
        (date(2027, 1, 11), 100), (date(2027, 1, 13), 150),
    ]  # fmt: skip
    assert await charged(customer) == [1900, 200, 300]
    await use(customer, "40", at="2027-01-07T12:00:00Z")
    await customer.advance(days=2)
    assert await charged(customer) == [1900, 200, 300, 80]


async def test_a_plan_that_notifies_takes_everything_and_tells(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("console-enterprise")
    done = await use(customer, "10001", feature_type="data_transfer_gb")
    assert (done["billing_status"], done["total_cost"]) == ("completed", "0")
    assert (await customer.published()).count("evt.billing.usage.threshold_reached") == 2
    await customer.advance(days=31)
    assert await lines(customer) == []


async def test_the_future_knows_what_was_used_so_far(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "1500")
    foreseen = await customer.ask("GET", "/billing/timeline?upcoming=5")
    renewals = [step["amount_cents"] for step in foreseen["future"] if step["name"] == "renew"]
    assert renewals[:2] == [3900, 1900]
    await customer.advance(days=31)
    assert await charged(customer) == [1900, 3900]
