"""A use that comes after a change counts by what its time had: the plan's rule and price then."""

from typing import Final

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import LATER, RENEWAL, begun, change
from tests.integration.dunning.dunning_setup import overdue
from tests.integration.dunning.test_unpaid_days import UNPAID
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences

BEFORE: Final = "2027-01-11T09:00:00Z"


async def shown(customer: Customer, units: str, at: str) -> str:
    """The cost of that many impressions, which starter includes 100,000 of and sells beyond."""
    return str((await use(customer, units, at, feature_type="impressions"))["total_cost"])


async def test_a_use_from_before_a_change_costs_what_it_cost_then(actors: Actors) -> None:
    customer = await begun(actors, "starter")
    await customer.advance(to=LATER)
    await shown(customer, "100000", BEFORE)
    assert await shown(customer, "10000", BEFORE) == "5.00"
    await change(customer, plan="console-enterprise", at="now")
    await change(customer, plan="starter", at="period_end")
    paid = sum(await charged(customer))
    assert await shown(customer, "100000000", LATER) == "0", "beyond it the larger plan only tells"
    assert await shown(customer, "20000", BEFORE) == "10.00", "in the cycle that runs"
    await customer.advance(to=RENEWAL)
    await customer.advance(days=1)
    assert await shown(customer, "40000", BEFORE) == "20.00", "in one that is over"
    assert await shown(customer, "40000", LATER) == "0"
    await customer.advance(to="2027-03-01T11:00:00Z")
    assert sum(await charged(customer)) - paid == 2 * 2900 + 1000 + 2000
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_use_from_before_the_first_subscription_is_the_default_plans(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.advance(to=LATER)
    asked = await customer.subscribe("basic")
    late = await use(customer, "2", BEFORE, feature_type="document_uploads")
    assert (late["billing_method"], late["total_cost"]) == ("subscription_included", "0")
    await customer.refused(
        "NO_ENTITLEMENT", "POST", "/usage/record",
        {"feature_type": "document_uploads", "usage_amount": "1"},
    )  # fmt: skip
    await customer.pay(asked)
    await customer.until_subscription("active")
    late = await use(customer, "3", BEFORE, feature_type="document_uploads")
    assert (late["billing_method"], late["total_cost"]) == ("subscription_included", "0")
    await customer.refused(
        "QUOTA_EXCEEDED", "POST", "/usage/record",
        {"feature_type": "document_uploads", "usage_amount": "1", "occurred_at": BEFORE},
    )  # fmt: skip
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_use_from_before_an_invoice_was_given_up_is_still_the_plans(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to=UNPAID)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "unpaid"
    late = await use(customer, "5", "2027-02-08T10:00:00Z")
    assert late["billing_method"] == "subscription_included"


async def test_no_use_is_dated_into_a_plan_whose_time_went_back(actors: Actors) -> None:
    customer = await begun(actors, "starter")
    await customer.advance(to=LATER)
    await change(customer, plan="console-enterprise", at="now")
    await customer.advance(to="2027-01-11T10:00:02Z")
    await change(customer, plan="starter", at="now")
    use = {"feature_type": "impressions", "usage_amount": "100000000"}
    await customer.refused(
        "EVENT_TOO_OLD", "POST", "/usage/record", use | {"occurred_at": "2027-01-11T10:00:01Z"}
    )
