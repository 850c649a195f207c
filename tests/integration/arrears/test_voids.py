"""Use beyond the plan that is taken back: from the next line, or by the money balance after it."""

from datetime import date

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.test_overage import RENEWAL, START, charged, lines, records, use

WHY = {"reason": "counted twice"}


async def void(actors: Actors, record: Json) -> Json:
    return await actors.operate("POST", f"/billing/records/{record['billing_id']}/void", WHY)


async def basic(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    return customer


async def test_what_is_taken_back_in_its_cycle_is_on_no_invoice(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "510")
    wrong = await use(customer, "100")
    done = await void(actors, wrong)
    assert (done["balance_cents"], done["credits_returned"]) == (0, "0")
    assert (await customer.ask("GET", "/usage/current"))["overages"]["total_overage_cost"] == "0.20"
    await customer.advance(to=RENEWAL)
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 10.0, 20)]
    assert await charged(customer) == [1900, 1920]


async def test_a_use_that_was_included_leaves_its_place_to_one_beyond_the_plan(
    actors: Actors,
) -> None:
    customer = await basic(actors)
    wrong = await use(customer, "400")
    await use(customer, "250")
    await use(customer, "300")
    await void(actors, wrong)
    assert await records(customer) == [("usage", "pending", "1")]
    await customer.advance(to=RENEWAL)
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 50.0, 100)]
    second = await basic(actors)
    wrong = await use(second, "500")
    await use(second, "100")
    await void(actors, wrong)
    assert await records(second) == []
    assert (await second.ask("GET", "/usage/current"))["overages"]["total_overage_cost"] == "0"
    await second.advance(to=RENEWAL)
    assert await lines(second) == []
    assert await charged(second) == [1900, 1900]


async def test_what_an_invoice_charged_lowers_the_next_one(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "500")
    wrong = await use(customer, "100")
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 2100]
    done = [await void(actors, wrong) for _ in range(2)]
    assert done[0] == done[1]
    assert (done[0]["balance_cents"], done[0]["currency"]) == (200, "USD")
    entries = (await customer.ask("GET", "/billing/balance"))["data"]
    assert [entry["amount_cents"] for entry in entries] == [200]
    late = await use(customer, "5", "2027-01-20T10:00:00Z")
    assert late["billing_status"] == "pending"
    await customer.advance(days=28)
    assert await lines(customer) == [
        (date(2027, 2, 1), "ai_responses", 100.0, 200),
        (date(2027, 3, 1), "ai_responses", 5.0, 10),
    ]
    assert await charged(customer) == [1900, 2100, 1900 + 10 - 200]
    used = await customer.ask(
        "GET", "/usage/aggregations?start_date=2027-01-01&end_date=2027-01-31&grain=month"
    )
    assert [one["quantity"] for one in used["data"]] == ["505.00"]
