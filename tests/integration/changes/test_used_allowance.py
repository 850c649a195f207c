"""Time whose allowance was used is not given back: not by an end, and not by a new period."""

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.test_add_ons import included
from tests.integration.arrears.test_overage import charged, use
from tests.integration.changes.test_endings import NOW
from tests.integration.changes.test_plan_changes import (
    LATER,
    PATH,
    RENEWAL,
    begun,
    change,
    lines,
    money,
)
from tests.integration.recomputed_sums import differences


async def noted(customer: Customer) -> list[int]:
    """Cents of every credit note, oldest first."""
    rows = await customer.rows(
        "SELECT amount_minor FROM credit_notes WHERE account_id = %(me)s ORDER BY id"
    )
    return [row["amount_minor"] for row in rows]


async def test_an_end_gives_nothing_back_of_time_whose_allowance_was_used(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await use(customer, "2500")
    await use(customer, "10", feature_type="storage_gb")
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    # Half of the responses of the month are used: 15.5 of its 31 days.
    assert (seen["credited_cents"], await money(customer)) == (2450, 2450)
    assert await customer.credits() == 250

    await customer.advance(to=LATER)
    await customer.subscribe("pro")
    await customer.until_subscription("active")
    await use(customer, "5000")
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await charged(customer) == [4900, 2450]
    assert (await noted(customer), await money(customer)) == ([2450], 0)
    assert await customer.credits() == 250 + 500, "they are of time that counts as used"


async def test_an_unpaid_period_whose_allowance_was_used_stays_owed(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    assert (await use(customer, "375"))["total_cost"] == "0"
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    # A quarter of 1900 cents.
    assert await noted(customer) == [475]


async def test_another_interval_credits_only_time_whose_allowance_is_left(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "600")
    await customer.advance(days=1)
    await change(customer, interval="year")
    assert (await lines(customer))[1] == [("plan", 19000)]

    await use(customer, "250")
    await customer.advance(days=1)
    wish = {"plan": "basic", "interval": "month", "when": "now"}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    await change(customer, **wish, preview_token=seen["preview_token"])
    # 15.5 of 365 days of the year are used, half of its first month.
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 18193 - 1900)
    assert await money(customer) == 18193 - 1900
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_use_before_a_raise_is_not_free_by_it(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "5000")
    await customer.advance(to="2027-02-01T09:00:00Z")
    await change(customer, plan="pro")
    # One of the 744 hours: 4500 / 744 are six more.
    assert await included(customer) == ("506", "506.00")
    await customer.advance(to=RENEWAL)
    assert (await lines(customer))[-1] == [("plan", 4900), ("usage", 8988)]
    assert await included(customer) == ("5000.00", "5000.00")
    assert await differences(actors.sql, [customer.uuid]) == []
