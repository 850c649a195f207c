"""The checks know the credits of a plan without a price: they are an account's, once per month."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors
from tests.integration.operator_acts import check_books
from tests.integration.past_triggers import past_triggers


async def test_an_end_that_is_taken_back_costs_no_credits_of_a_free_month(actors: Actors) -> None:
    plan = f"hobby-{uuid4().hex[:12]}"
    body = {
        "family": plan, "name": "Hobby", "limits": [], "monthly_credits": "5",
        "prices": {"month": {"USD": 0}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{plan}", body)
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribe(plan)
    date = {"cancel_at": "2027-02-15T10:00:00Z"}
    await customer.ask("POST", "/billing/subscription/cancel", date, status=200)
    await customer.advance(to="2027-02-10T10:00:00Z")
    assert await customer.credits() == 5
    await customer.ask("POST", "/billing/subscription/reactivate", status=200)
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert await customer.credits() == 5, "the rest of the month has those of its first half"
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert await customer.credits() == 5
    await check_books(customer)


@pytest.mark.parametrize("every", ["month", "year"])
async def test_books_stay_clean_when_a_plan_without_a_price_gives_way(
    actors: Actors, every: str
) -> None:
    """The credits of its cycles are those of a month, also when another plan came since."""
    plan = f"hobby-{uuid4().hex[:12]}"
    body = {
        "family": plan, "name": "Hobby", "limits": [], "monthly_credits": "5",
        "prices": {every: {"USD": 0}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{plan}", body)
    customer = await actors.customer_on_clock("2027-01-10T10:00:00Z")
    path = f"/admin/integrity?account={customer.id}"
    await customer.save_card()
    await customer.subscribe(plan, interval=every)
    await customer.until_subscription("active")
    await customer.advance(to="2027-02-11T10:00:00Z")
    report = await actors.operate("GET", path)
    assert report["ok"], report

    wanted = {"plan": "pro", "interval": "month", "at": "now"}
    await customer.ask("PUT", "/billing/subscription", wanted, status=200)

    report = await actors.operate("GET", path)
    assert report["ok"], report
    lost = "UPDATE credit_lots SET grant_key = id::text WHERE account_id = %(me)s"
    await past_triggers(actors.stack, f"{lost} AND grant_key LIKE 'acc%%'", me=customer.uuid)
    report = await actors.operate("GET", path)
    broken = [one["name"] for one in report["checks"] if not one["ok"]]
    assert "cycles_granted_once" in broken, "one that never came is found all the same"
