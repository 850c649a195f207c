"""A level that a plan held is paid for, also where the plan gives way to a smaller one."""

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import RENEWAL, use
from tests.integration.changes.chosen_plans import LATER, begun, change
from tests.integration.money_seen import charged, money
from tests.integration.recomputed_sums import differences


async def stored(customer: Customer, gigabytes: str) -> str:
    """The price of one more reading."""
    return str((await use(customer, gigabytes, feature_type="storage_gb"))["total_cost"])


async def test_a_level_that_a_plan_held_is_paid_by_its_whole_cycle(actors: Actors) -> None:
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    assert await stored(customer, "2000") == "0"
    await change(customer, plan="basic", at="now")
    assert await money(customer) == 0
    assert await charged(customer) == [1900, 48000, 1900], "nothing of the month came back"
    await customer.advance(days=1)
    assert await stored(customer, "2000") == "0", "the month of the larger plan is paid"
    assert await stored(customer, "2004") == "1.00"
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert await stored(customer, "2000") == "497.50"
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_level_from_before_a_raise_is_paid_by_it(actors: Actors) -> None:
    customer = await begun(actors)
    assert await stored(customer, "110") == "25.00"
    await change(customer, plan="pro")
    await change(customer, plan="basic", at="now")
    assert await money(customer) == 0
    assert await charged(customer) == [1900, 3000, 1900]
    await customer.advance(to=RENEWAL)
    # Ten of the 110 were beyond the larger plan too, at the price of their time.
    assert await charged(customer) == [1900, 3000, 1900, 1900 + 250]


async def test_time_comes_back_for_the_units_that_no_level_had_need_of(actors: Actors) -> None:
    customer = await begun(actors, "enterprise")
    await stored(customer, "1005")
    await stored(customer, "5")
    await change(customer, plan="basic", at="now")
    # Of the 1,990 units that go half were needed: 995.
    assert await money(customer) == 24950 - 1900
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_level_that_the_smaller_plan_holds_is_no_reason_to_keep_time(
    actors: Actors,
) -> None:
    customer = await begun(actors, "enterprise")
    await stored(customer, "10")
    await customer.advance(to=LATER)
    await change(customer, plan="basic", at="now")
    # 21 of 31 days.
    assert await money(customer) == 33803 - 1287


async def test_a_level_that_was_agreed_stays_with_every_plan(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    limit = {"included": "5000", "then": "block"}
    path = f"/admin/accounts/{customer.id}/limits/storage_gb"
    await actors.operate("PUT", path, limit)
    await stored(customer, "4000")
    await change(customer, plan="basic", at="now")
    assert await money(customer) == 4900 - 1900


async def test_a_raise_in_the_last_seconds_takes_over_no_time_before_it(actors: Actors) -> None:
    customer = await begun(actors)
    assert await stored(customer, "2000") == "497.50"
    await customer.advance(to="2027-02-01T09:59:50Z")
    await change(customer, plan="enterprise", at="now")
    await change(customer, plan="basic", at="period_end")
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 1900 + 49750]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_level_beyond_the_plan_is_paid_by_its_time_after_a_raise(actors: Actors) -> None:
    customer = await begun(actors)
    await stored(customer, "2000")
    await customer.advance(to=LATER)
    await change(customer, plan="enterprise")
    assert await stored(customer, "1500") == "0"
    assert await stored(customer, "2100") == "15.00", "beyond the larger plan"
    await customer.advance(to=RENEWAL)
    # 10 of 31 days of 1,990 units at the price of their time: 641.935484.
    assert (await charged(customer))[-1] == 49900 + 1500 + 16048
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_level_that_is_told_late_costs_what_it_costs_in_time(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    await change(customer, plan="enterprise")
    before = "2027-01-11T09:00:00Z"
    told = await use(customer, "2000", before, feature_type="storage_gb")
    assert told["total_cost"] == "160.483871", "10 of 31 days of 1,990 units"
    assert await stored(customer, "2000") == "0"
    await customer.advance(to=RENEWAL)
    assert (await charged(customer))[-1] == 49900 + 16048
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_the_time_that_a_level_had_need_of_is_that_of_its_plan(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    await change(customer, plan="enterprise")
    await stored(customer, "1005")
    await change(customer, plan="basic", at="now")
    # Half of the 1,990 units that go were needed: half of the 21 days, 16902 of 33803.
    assert await money(customer) == 16902 - 1287
    assert await differences(actors.sql, [customer.uuid]) == []
