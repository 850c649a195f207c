"""A service that was away for days: what was missed happens once, late, and never in a burst.

A frozen clock is normally walked instant by instant; these tests push it past what was due, which
is what an outage looks like from the rows.
"""

from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import text

from billing.insight.health import store
from sandbox.control import Json
from tests.integration.actors import Actors, Customer, instant, wait_for
from tests.integration.api_app import Api
from tests.integration.arrears.overage_uses import use

START = "2027-01-01T10:00:00Z"


async def pass_unseen(customer: Customer, days: float) -> None:
    """Nothing ran for so many days, and nothing does."""
    await customer.rows(
        "UPDATE accounts SET clock_at = clock_at + %(late)s WHERE id = %(me)s",
        late=timedelta(days=days),
    )


async def wake_up_late(customer: Customer, days: float) -> None:
    """Nothing ran for so many days; then everything is told to look again."""
    await pass_unseen(customer, days)
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


async def after_two_missed_renewals(actors: Actors) -> tuple[Customer, list[Json]]:
    """A subscription that nobody renewed for 65 days, and its invoices, the newest first."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await wake_up_late(customer, 65)

    return customer, await three_invoices(customer)


async def three_invoices(customer: Customer) -> list[Json]:
    """The account's invoices, the newest first, once there are three."""

    async def written() -> list[Json]:
        found: list[Json] = (await customer.ask("GET", "/billing/invoices"))["data"]
        return found

    return await wait_for(written, "all three are written", lambda seen: len(seen) == 3)


async def told(api: Api, customer: Customer) -> int:
    """The held invoices that the doctor would count of a test account, were it a customer's."""
    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = (await store.look(connection)).backlog("held").count
        await connection.execute(
            text(
                "UPDATE accounts SET is_test = false, clock_at = NULL, clock_target = NULL"
                " WHERE id = :me"
            ),
            {"me": customer.uuid},
        )
        count = (await store.look(connection)).backlog("held").count - before
        await connection.rollback()
    return count


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


async def test_two_missed_renewals_are_invoiced_but_charged_by_nobody(
    actors: Actors, api: Api
) -> None:
    customer, invoices = await after_two_missed_renewals(actors)
    assert [one["collection"] for one in invoices] == ["held", "held", "automatic"]
    await customer.advance(days=5)
    assert [effect["amount"] for effect in await customer.effects()] == [4900]
    assert (await customer.subscription())["status"] == "active"

    async def listed() -> list[Json]:
        path = f"/admin/invoices?collection=held&status=open&account_id={customer.id}"
        found: list[Json] = (await actors.operate("GET", path))["data"]
        return found

    waiting = await listed()
    assert [one["invoice_id"] for one in waiting] == [one["invoice_id"] for one in invoices[:2]]
    assert await told(api, customer) == 2, "an operator is told of both"
    late, missed = (one["invoice_id"] for one in waiting)
    paid = await actors.operate(
        "POST", f"/billing/invoices/{late}/pay", {"payment_method": "saved_card"},
        account=customer.id, key=str(uuid4()), status=200,
    )  # fmt: skip
    assert (paid["status"], paid["collection"]) == ("paid", "held")
    assert await told(api, customer) == 1
    await actors.operate("POST", f"/admin/invoices/{missed}/void", {"reason": "our outage"})
    assert (await listed(), await told(api, customer)) == ([], 0)
    assert [effect["amount"] for effect in await customer.effects()] == [4900, 4900]


async def test_who_canceled_has_and_pays_nothing_of_the_plan_while_nobody_ends_it(
    actors: Actors,
) -> None:
    path = "/billing/subscription"
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500")
    await customer.ask("POST", f"{path}/cancel", {"at": "period_end"}, status=200)

    await pass_unseen(customer, 40)

    await use(customer, "50")
    more = {"feature_type": "ai_responses", "usage_amount": "1"}
    refused = await customer.refused("QUOTA_EXCEEDED", "POST", "/usage/record", more)
    assert refused["limit"] == "50.00", "the default plan's"
    assert (await customer.ask("GET", "/billing/entitlements"))["plan"] == "free"
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{path}/reactivate")
    later = {"cancel_at": "2027-03-20T10:00:00Z"}
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{path}/cancel", later)
    await wake_up_late(customer, 1)
    await wait_for(
        customer.subscription, "the end comes", lambda seen: seen["status"] == "canceled"
    )
    assert [effect["amount"] for effect in await customer.effects()] == [1900]
    assert len((await customer.ask("GET", "/billing/invoices"))["data"]) == 1


async def test_invoices_by_transfer_are_sent_also_where_two_renewals_were_missed(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe_by_transfer("pro")
    (first,) = (await customer.ask("GET", "/billing/invoices"))["data"]
    paper = {"amount_cents": first["amount_due"], "reference": f"TRX-{uuid4().hex[:10]}"}
    path = f"/admin/invoices/{first['invoice_id']}/record-payment"
    await actors.operate("POST", path, paper, key=str(uuid4()))
    await wake_up_late(customer, 65)

    invoices = await three_invoices(customer)
    assert [one["collection"] for one in invoices] == ["send_invoice"] * 3, "no card is to be asked"


async def test_the_use_of_two_missed_months_of_a_year_is_charged_by_nobody(
    actors: Actors, api: Api
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="yearly")
    (year,) = await customer.effects()
    for days in (35, 28):
        await use(customer, "700")
        await pass_unseen(customer, days)

    await wake_up_late(customer, 1)

    invoices = await three_invoices(customer)
    assert [one["collection"] for one in invoices] == ["held", "held", "automatic"]
    assert [one["amount_due"] for one in invoices[:2]] == [400, 400]
    await customer.advance(days=1)
    assert await customer.effects() == [year]
    assert await told(api, customer) == 2


async def test_the_use_of_a_month_missed_after_a_late_renewal_is_not_charged_beside_it(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="yearly", billing_day=15)
    await pass_unseen(customer, 20)
    await use(customer, "700")
    await pass_unseen(customer, 26)

    await wake_up_late(customer, 1)

    invoices = await three_invoices(customer)
    used, year, _ = invoices
    assert (used["collection"], used["amount_due"]) == ("held", 400)
    assert year["collection"] == "automatic"
    await wait_for(customer.effects, "the renewal is charged", lambda seen: len(seen) == 2)
    await customer.advance(days=1)
    charged = [one["amount"] for one in await customer.effects()]
    assert charged[1:] == [year["amount_due"]]


async def test_the_charges_of_an_outage_are_asked_for_by_one_command(
    actors: Actors, api: Api
) -> None:
    customer, invoices = await after_two_missed_renewals(actors)
    await customer.script("succeed", "insufficient_funds", then="last")
    body: Json = {
        "act": "retry", "reason": "our outage", "status": "active", "account_ids": [customer.id],
    }  # fmt: skip

    async def steered(*, dry_run: bool) -> Json:
        path = f"/admin/subscriptions/steer?dry_run={dry_run}"
        (one,) = (await actors.operate("POST", path, body, key=str(uuid4())))["data"]
        assert one["refused"] is None, one
        found: Json = one
        return found

    path = "/admin/subscriptions/steer?dry_run=true"
    since = body | {"past_due_from": "2027-01-01T00:00:00Z"}
    chosen = (await actors.operate("POST", path, since, key=str(uuid4())))["data"]
    assert chosen == [], "the recovery of none has begun"
    foreseen = (await steered(dry_run=True))["invoices"]
    assert [one["invoice_id"] for one in foreseen] == [one["invoice_id"] for one in invoices[1::-1]]
    assert [(one["amount_cents"], one["dunning_status"]) for one in foreseen] == [(4900, None)] * 2
    assert await told(api, customer) == 2, "nothing was done"
    done = await steered(dry_run=False)
    assert done["status"] == "past_due", "the second charge was declined"
    ends = {(one["result"], one["status"], one["dunning_status"]) for one in done["invoices"]}
    assert ends == {("succeeded", "paid", None), ("declined", "open", "open")}
    assert await told(api, customer) == 0, "one is paid, the other in recovery"


async def test_one_missed_renewal_is_charged_late_and_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")

    await wake_up_late(customer, 39)

    await wait_for(customer.effects, "the renewal is charged", lambda seen: len(seen) == 2)
    await customer.advance(days=1)
    assert len(await customer.effects()) == 2
    ends = instant((await customer.subscription())["current_period_end"])
    assert ends == instant("2027-03-01T10:00:00Z"), "the period keeps its dates"
