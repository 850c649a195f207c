"""A report of a transfer ends in time although something else has settled its invoice."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.changes.chosen_plans import PATH, change, told
from tests.integration.changes.test_unpaid_changes import begun
from tests.integration.dunning.dunning_setup import overdue, owed
from tests.integration.money_seen import money
from tests.integration.payments.manual_payments import decide, invoice_of, submit


async def record(customer: Customer, invoice: str) -> None:
    """Record money from outside for all that is owed."""
    amount = (await invoice_of(customer, invoice))["amount_remaining"]
    body = {"amount_cents": amount, "reference": f"TRX-{uuid4().hex[:10]}"}
    path = f"/admin/invoices/{invoice}/record-payment"
    await customer.actors.operate("POST", path, body, key=str(uuid4()))


async def ends_on_the_fifth_day(customer: Customer, payment: Json, day: str) -> None:
    """Check that the report ends then, with its event; approved later, its money is kept."""
    path, before = f"/billing/payments/{payment['payment_id']}", await money(customer)
    assert (await invoice_of(customer, payment["invoice_id"]))["status"] == "paid"
    await customer.advance(to=f"{day}T09:59:59Z")
    assert (await customer.ask("GET", path))["status"] == "pending_approval"

    await customer.advance(to=f"{day}T10:00:00Z")

    shown = await customer.ask("GET", path)
    assert (shown["status"], shown["failure_code"]) == ("canceled", "approval_ended")
    ended = [one["failure_code"] for one in await told(customer, "payment.canceled")
             if one["payment_id"] == payment["payment_id"]]  # fmt: skip
    assert ended == ["approval_ended"]
    approved = await decide(customer, payment, "approve", amount_cents=payment["amount"])
    assert approved["status"] == "completed"
    assert await money(customer) - before == payment["amount"], "it is kept on the balance"


async def test_a_note_of_a_change_settles_the_invoice_of_a_report(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-05-01T10:00:00Z")
    renewal = (await owed(customer))["invoice_id"]
    payment = await submit(customer, renewal)
    await change(customer, plan="enterprise")
    await ends_on_the_fifth_day(customer, payment, "2027-05-06")


@pytest.mark.parametrize("ends", [False, True], ids=["subscription", "collection"])
async def test_another_transfer_settles_the_invoice_of_a_report(actors: Actors, ends: bool) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    await customer.advance(days=1)
    if ends:
        await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    payment = await submit(customer, debt)
    await record(customer, debt)
    await ends_on_the_fifth_day(customer, payment, "2027-02-07")


async def test_a_report_after_a_first_payment_has_expired_has_its_fourteen_days(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    asked = await customer.subscribe_by_transfer()
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert (await customer.subscription())["status"] == "incomplete_expired"
    payment = await submit(customer, asked["latest_invoice_id"])
    path = f"/billing/payments/{payment['payment_id']}"
    await customer.advance(to="2027-03-15T09:59:59Z")
    assert (await customer.ask("GET", path))["status"] == "pending_approval"
    await customer.advance(to="2027-03-15T10:00:00Z")
    assert (await customer.ask("GET", path))["failure_code"] == "approval_ended"
    assert len(await told(customer, "payment.canceled")) == 1


async def test_a_card_settles_the_invoice_of_a_report_that_waits_its_turn(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    path = f"/billing/invoices/{debt}/pay"
    offered = await customer.ask("POST", path, {"payment_method": "card"}, key="k", status=200)
    await customer.script("succeed", then="last")
    async with customer.unheard():
        await customer.confirm(offered)
        payment = await submit(customer, debt)
        await customer.until_subscription("active")
        await ends_on_the_fifth_day(customer, payment, "2027-02-06")
