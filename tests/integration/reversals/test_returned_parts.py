"""Money of a lost dispute that its bank returns in part: first our loss, then the customer's."""

from datetime import timedelta

import pytest

from billing.core.clock import real_now
from billing.core.database import Database
from billing.money.reconciliations import store
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.reconciliations.test_reconcile import deaf, of, reconcile
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for, refunded, shown


async def lost(customer: Customer) -> str:
    """The whole charge is disputed and lost; the provider's id of the dispute."""
    actors = customer.actors
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    opened = await actors.sandbox.dispute(intent, "product_not_received")
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    await disputed(actors, customer, "lost")
    return str(opened.body["id"])


async def returned(customer: Customer, cents: int) -> Json:
    """The customer's one dispute, once its bank has returned as much."""
    path = f"/admin/disputes?account_id={customer.id}"

    async def newest() -> Json:
        (found,) = (await customer.actors.operate("GET", path))["data"]
        return dict(found)

    return await wait_for(
        newest, f"{cents} are back", lambda seen: seen.get("returned_cents") == cents
    )


async def cash(customer: Customer) -> int:
    """The cash of an account, by the exported postings."""
    today = real_now().date()
    days = f"start_date={today - timedelta(days=2)}&end_date={today + timedelta(days=2)}"
    path = f"/admin/exports/accounting?format=json&account_id={customer.id}&{days}"
    rows = (await customer.actors.operate("GET", path))["data"]
    return sum(one["amount_minor"] for one in rows if one["ledger_account"] == "cash")


async def told(customer: Customer) -> list[Json]:
    path = "/billing/events?type=evt.billing.dispute.returned"
    return [one["data"] for one in (await customer.ask("GET", path))["data"]]


async def test_a_part_that_was_refunded_before_is_no_loss_once_its_bank_returns_it(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    await refunded(customer, await paid_for(customer), 333)
    opened = await lost(customer)
    await actors.sandbox.finish_dispute(opened, "lost", returned=333)
    dispute = await returned(customer, 333)
    assert (dispute["status"], dispute["amount_cents"], dispute["loss_cents"]) == ("lost", 999, 0)
    seen, invoice = await shown(customer, await paid_for(customer))
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 999)
    assert sorted(note["amount"] for note in invoice["credit_notes"]) == [333, 666]
    assert await money(customer) == await customer.credits() == await cash(customer) == 0
    [event] = await told(customer)
    names = ("amount_cents", "returned_cents", "loss_cents", "balance_cents")
    assert [event[name] for name in names] == [999, 333, 0, 0]
    await check_books(customer)


async def test_what_is_returned_beyond_our_loss_is_the_customers(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    opened = await lost(customer)
    await actors.sandbox.finish_dispute(opened, "lost", returned=400)
    dispute = await returned(customer, 400)
    assert (dispute["amount_cents"], dispute["loss_cents"]) == (999, 0)
    seen, invoice = await shown(customer, await paid_for(customer))
    assert (seen["status"], seen["amount_refunded"]) == ("succeeded", 599)
    assert [note["amount"] for note in invoice["credit_notes"]] == [999]
    assert await money(customer) == await cash(customer) == 400
    assert await customer.credits() == 0, "they stay with the note"
    assert [one["balance_cents"] for one in await told(customer)] == [400]
    await check_books(customer)

    await actors.sandbox.finish_dispute(opened, "won")

    dispute = await disputed(actors, customer, "won")
    assert (dispute["amount_cents"], dispute["returned_cents"]) == (999, 400)
    seen, _ = await shown(customer, await paid_for(customer))
    assert (seen["status"], seen["amount_refunded"]) == ("succeeded", 0)
    assert await money(customer) == await cash(customer) == 999
    await check_books(customer)


@pytest.mark.parametrize(
    ("status", "state", "amount"),
    [("lost", "lost", 599), ("appeal_under_review", "open", 999), ("won", "won", 999)],
)
async def test_what_was_returned_is_compared_as_stripe_tells_it(
    actors: Actors, database: Database, status: str, state: str, amount: int
) -> None:
    """While the bank looks again, Stripe's whole amount is undecided."""
    customer = await actors.customer()
    await customer.bought("small")
    opened = await lost(customer)
    await actors.sandbox.finish_dispute(opened, "lost", returned=400)
    await returned(customer, 400)
    said = {"status": status, "name": opened}
    await actors.sql(
        "UPDATE disputes SET status = %(status)s WHERE stripe_dispute_id = %(name)s", **said
    )
    async with database.operator() as connection:
        side = (await store.rows_named(connection, "dispute", [opened]))[opened].side
    said["status"] = "lost"
    await actors.sql(
        "UPDATE disputes SET status = %(status)s WHERE stripe_dispute_id = %(name)s", **said
    )
    assert (side.state, side.amount_minor, side.has_returned) == (state, amount, True)


async def test_a_part_that_comes_with_the_verdict_is_booked_with_it(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    opened = await actors.sandbox.dispute(intent, "product_not_received")
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost", returned=999)
    dispute = await returned(customer, 999)
    assert (dispute["status"], dispute["amount_cents"]) == ("lost", 999)
    assert await money(customer) == await cash(customer) == 999
    await check_books(customer)


async def test_a_returned_part_that_nobody_heard_of_is_found_and_healed(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    opened = await lost(customer)
    async with deaf(customer, "charge.dispute.funds_reinstated"):
        await actors.sandbox.finish_dispute(opened, "lost", returned=400)
        (found,) = of(await reconcile(actors, heal=True), customer)
        assert (found["object"], found["kind"], found["fix"]) == (
            "dispute", "amount_differs", "check_payment",
        )  # fmt: skip
        sides = [found[name]["amount_cents"] for name in ("at_billing", "at_stripe")]
        assert sides == [999, 599], "what the bank has"
        await returned(customer, 400)
        assert of(await reconcile(actors), customer) == []
