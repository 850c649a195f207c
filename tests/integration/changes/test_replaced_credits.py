"""Credits of a plan that a new cycle replaces: they end with it, not with the cycle before."""

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.changes.chosen_plans import LATER, RENEWAL, begun, change
from tests.integration.credits.test_rollover import spend
from tests.integration.credits.test_rollover_lives import broken
from tests.integration.recomputed_sums import differences


async def weekly(actors: Actors) -> str:
    """A plan that includes 50 credits a week."""
    key = f"weekly-{uuid4().hex[:8]}"
    terms = {
        "name": "Weekly", "family": key, "allowance": "week", "monthly_credits": "50",
        "prices": {"week": {"USD": 5000}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    return key


async def left_by_end(customer: Customer) -> dict[str, Decimal]:
    """Credits not spent, by the instant at which they expire."""
    rows = await customer.rows(
        "SELECT to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS ends,"
        " sum(remaining) AS credits FROM credit_lots"
        " WHERE account_id = %(me)s AND is_open GROUP BY ends"
    )
    return {row["ends"]: row["credits"] for row in rows if row["credits"]}


async def test_a_longer_interval_gives_its_first_cycle_all_its_credits(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    await change(customer, interval="year")
    # 10 of the 31 days of 500 stay with the month that gave them.
    assert await left_by_end(customer) == {
        RENEWAL: Decimal("161.290323"),
        "2027-02-11T10:00:00Z": Decimal(500),
    }
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 500
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert await customer.credits() == 500, "the second cycle replaces what is left of the first"
    assert await broken(customer) == []
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_two_changes_carry_no_credits_over_the_end_of_their_cycle(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to="2027-02-01T09:58:00Z")
    await change(customer, interval="year")
    await change(customer, interval="month", at="now")
    assert set(await left_by_end(customer)) == {RENEWAL, "2027-03-01T09:58:00Z"}
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 500


@pytest.mark.parametrize(("spent", "left"), [(400, "261.290323"), (500, "161.290323")])
async def test_what_was_spent_of_the_replaced_credits_comes_off_the_new_cycle(
    actors: Actors, spent: int, left: str
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    await spend(customer, spent)
    await change(customer, interval="year")
    assert await customer.credits() == Decimal(left)
    assert (await left_by_end(customer))["2027-02-11T10:00:00Z"] == Decimal(left)


async def test_a_shorter_cycle_ends_what_it_replaces_and_alarms_nobody(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    await change(customer, plan=await weekly(actors), interval="week", at="now")
    await customer.script("insufficient_funds")
    await customer.advance(to="2027-01-18T10:00:00Z")
    assert [one["status"] for one in await customer.invoices()][-1] == "open"
    assert await broken(customer) == []


async def test_years_there_and_back_leave_no_credits_for_a_year(actors: Actors) -> None:
    customer = await begun(actors)
    for _ in range(2):
        await change(customer, interval="year")
        await change(customer, interval="month", at="now")
    assert await customer.credits() == Decimal(100)
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == Decimal(100)
