"""A service that was away for days: what was missed happens once, late, and never in a burst.

A frozen clock is normally walked instant by instant; these tests push it past what was due, which
is what an outage looks like from the rows.
"""

from datetime import datetime, timedelta

from sandbox.control import Json
from tests.integration.actors import Actors, Customer, instant, wait_for

START = "2027-01-01T10:00:00Z"


async def wake_up_late(customer: Customer, days: float) -> None:
    """Nothing ran for so many days; then everything is told to look again."""
    await customer.rows(
        "UPDATE accounts SET clock_at = clock_at + %(late)s WHERE id = %(me)s",
        late=timedelta(days=days),
    )
    subscription = await customer.subscription()
    workflow = customer.actors.temporal.get_workflow_handle(
        f"subscription/{subscription['subscription_id']}"
    )
    await workflow.signal("changed")


async def attempts(customer: Customer) -> list[datetime]:
    """Start of each slot attempt of the account's invoices, in its own time."""
    rows = await customer.rows(
        "SELECT started_at FROM payment_attempts WHERE account_id = %(me)s AND slot IS NOT NULL"
        " ORDER BY started_at"
    )
    return [row["started_at"] for row in rows]


async def with_unpaid_renewal(actors: Actors) -> Customer:
    """A subscription whose first renewal was declined on its day."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-01T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    return customer


async def test_eight_days_of_outage_do_not_bunch_the_attempts(actors: Actors) -> None:
    customer = await with_unpaid_renewal(actors)
    renewal = instant("2027-02-01T10:00:00Z")

    await wake_up_late(customer, 8)

    async def tried() -> list[timedelta]:
        return [at - renewal for at in await attempts(customer) if at >= renewal]

    missed = timedelta(days=8)
    await wait_for(tried, "the missed slot runs", lambda seen: seen == [timedelta(), missed])
    await customer.advance(days=3)
    assert await tried() == [timedelta(), missed], "the next slot keeps its gap of four days"
    await customer.advance(days=1)
    assert await tried() == [timedelta(), missed, missed + timedelta(days=4)]
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "unpaid", "a day after the last attempt"


async def test_two_missed_renewals_are_invoiced_but_charged_by_nobody(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")

    await wake_up_late(customer, 65)

    async def written() -> list[Json]:
        return await customer.invoices()

    invoices = await wait_for(written, "both renewals are invoiced", lambda seen: len(seen) == 3)
    assert [invoice["collection"] for invoice in invoices] == ["automatic", "held", "held"]
    await customer.advance(days=5)
    assert [effect["amount"] for effect in await customer.effects()] == [4900]
    assert (await customer.subscription())["status"] == "active"


async def test_one_missed_renewal_is_charged_late_and_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")

    await wake_up_late(customer, 39)

    await wait_for(customer.effects, "the renewal is charged", lambda seen: len(seen) == 2)
    await customer.advance(days=1)
    assert len(await customer.effects()) == 2
    ends = instant((await customer.subscription())["current_period_end"])
    assert ends == instant("2027-03-01T10:00:00Z"), "the period keeps its dates"
