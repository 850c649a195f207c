"""Agreed limits on invoices, and on the engine's clock: their price, their beginning, their end."""

from typing import Any

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import choose, included
from tests.integration.arrears.overage_uses import RENEWAL, START, lines, records, use
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences


async def agree(customer: Customer, units: str, meter: str = "ai_responses", **body: Any) -> None:
    path = f"/admin/accounts/{customer.id}/limits/{meter}"
    wanted = {"included": units, "then": "overage", "prices": {"USD": "0.005"}} | body
    await customer.actors.operate("PUT", path, wanted, status=200)


async def test_use_beyond_it_is_on_the_next_invoice_at_the_agreed_price(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, "1000")
    await use(customer, "990")
    await use(customer, "21.5")
    assert await records(customer) == [("usage", "pending", "0.0575")]
    await customer.advance(to=RENEWAL)
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 11.5, 6)]
    assert await charged(customer) == [1900, 1906]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_cycle_with_two_prices_charges_each_use_by_its_own(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "600")
    await agree(customer, "550")
    await use(customer, "100")
    await customer.advance(to=RENEWAL)
    # 50 of the 100 from before are included now.
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 150, 150)]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_what_was_used_beyond_one_that_has_ended_is_still_charged(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, "10", "chat_messages")
    await use(customer, "110", feature_type="chat_messages")
    path = f"/admin/accounts/{customer.id}/limits/chat_messages"
    await customer.actors.operate("DELETE", path, status=200)
    await use(customer, "1000", feature_type="chat_messages")
    await customer.advance(to=RENEWAL)
    assert [line[1:] for line in await lines(customer)] == [("chat_messages", 100, 50)]
    assert await charged(customer) == [1900, 1950]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_later_one_begins_and_ends_at_its_instants(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(
        customer, "700", effective_from="2027-01-10T00:00:00Z", effective_to="2027-01-20T00:00:00Z"
    )
    await customer.advance(to="2027-01-09T23:00:00Z")
    assert await included(customer) == ("500.00", "500.00")
    await customer.advance(to="2027-01-10T00:00:00Z")
    assert await included(customer) == ("700.00", "700.00")
    await use(customer, "700")
    await customer.advance(to="2027-01-20T00:00:00Z")
    assert await included(customer) == ("500.00", "500.00")
    await use(customer, "1")
    assert await records(customer) == [("usage", "pending", "0.02")]
    await customer.advance(to=RENEWAL)
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 1, 2)]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_add_ons_come_on_top_of_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await choose(customer, ai_500=1)
    await agree(customer, "2000")
    assert await included(customer) == ("2500", "2500.00")


async def test_a_limit_that_is_raised_again_covers_no_more_than_it_includes(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "600")
    await agree(customer, "300", prices={"USD": "0.02"})
    await use(customer, "10")
    await agree(customer, "500", prices={"USD": "0.02"})
    assert await records(customer) == [("usage", "pending", "2"), ("usage", "pending", "0.2")]
    await agree(customer, "550", prices={"USD": "0.02"})
    assert await records(customer) == [("usage", "pending", "1.2")]
    await agree(customer, "800", prices={"USD": "0.02"})
    assert await records(customer) == []
    await customer.advance(to=RENEWAL)
    assert await lines(customer) == []
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_raised_limit_prices_by_tier_what_still_goes_beyond(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    tiers = [{"up_to": "100", "unit_price": "0.10"}, {"unit_price": "0.01"}]
    terms = {"USD": {"model": "graduated", "tiers": tiers}}
    await agree(customer, "500", prices=terms)
    assert (await use(customer, "600"))["total_cost"] == "10.00"
    assert (await use(customer, "200"))["total_cost"] == "2.00"
    await agree(customer, "650", prices=terms)
    assert sum(float(amount) for _, _, amount in await records(customer)) == 10.5
    await customer.advance(to=RENEWAL)
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 150, 1050)]
    assert await differences(actors.sql, [customer.uuid]) == []
