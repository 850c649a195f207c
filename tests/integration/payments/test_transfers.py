"""Customers who pay their subscription by transfer: invoices are sent, no card is tried."""

from typing import Any
from uuid import uuid4

import pytest

from billing.core import ids
from tests.integration.actors import Actors, Customer, Json, instant
from tests.integration.operator_acts import check_books

START = "2027-01-01T10:00:00Z"


async def by_transfer(actors: Actors, **more: Any) -> tuple[Customer, Json]:
    """A customer who has subscribed and is to send the first payment; with a card, all the same."""
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    begun = await customer.subscribe_by_transfer(days_until_due=10, **more)
    return customer, begun


async def sent(customer: Customer, asked: Json, reference: str) -> str:
    """The payer tells of a transfer; the payment that an operator decides on."""
    body = {
        "invoice_id": asked["invoice_id"], "payment_method": "bank_transfer",
        "transaction_reference": reference,
    }  # fmt: skip
    return str((await customer.ask("POST", "/billing/payments/manual", body))["payment_id"])


async def approved(customer: Customer, payment: str) -> None:
    """The money is there."""
    await customer.actors.operate("POST", f"/admin/payments/{payment}/approve", {})


async def test_a_first_transfer_waits_fourteen_days_for_its_approval(actors: Actors) -> None:
    customer, begun = await by_transfer(actors)
    assert (begun["status"], begun["next_action"]["type"]) == ("incomplete", "manual")
    assert begun["next_action"]["amount_cents"] == 1900
    await customer.advance(days=5)
    payment = await sent(customer, begun["next_action"], "T-1")
    await customer.advance(days=13)
    assert (await customer.subscription())["status"] == "incomplete"
    await approved(customer, payment)
    await customer.until_subscription("active")
    assert await customer.effects(None) == [], "no card is tried"


async def test_money_that_no_card_pays_in_is_sent_by_transfer(actors: Actors) -> None:
    key = f"plan-{uuid4().hex[:8]}"
    price = {"month": {"CLF": {"amount_minor": 12_345}}}
    await actors.operate(
        "PUT", f"/admin/plans/{key}", {"name": "Plan", "family": key, "prices": price}
    )
    customer = await actors.customer()
    body = {"plan": key, "trial": False, "currency": "CLF"}
    await customer.refused("CURRENCY_NOT_CHARGED", "POST", "/billing/subscription", body)
    begun = await customer.subscribe_by_transfer(key, currency="CLF")
    assert begun["next_action"]["amount_cents"] == 12_345
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")


async def test_a_first_transfer_that_never_comes_expires_after_fourteen_days(
    actors: Actors,
) -> None:
    customer, _ = await by_transfer(actors)
    await customer.advance(days=13)
    assert (await customer.subscription())["status"] == "incomplete"
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "incomplete_expired"
    assert [one["status"] for one in await customer.invoices()] == ["void"]


async def test_a_card_that_is_declined_before_the_day_makes_nobody_late(actors: Actors) -> None:
    customer, begun = await by_transfer(actors)
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")
    await customer.advance(to="2027-02-01T10:00:00Z")
    [_, renewal] = await customer.invoices()
    await customer.script("insufficient_funds")
    pay = f"/billing/invoices/{ids.encode(ids.INVOICE, renewal['id'])}/pay"
    declined = await customer.refused("CARD_DECLINED", "POST", pay, {}, key=str(uuid4()))
    assert declined["status"] == 402
    await customer.advance(to="2027-02-11T09:59:59Z")
    assert (await customer.subscription())["status"] == "active"
    assert await customer.rows("SELECT 1 FROM dunning_cases WHERE account_id = %(me)s") == []
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"


async def test_a_renewal_is_sent_due_in_its_days_and_then_overdue(actors: Actors) -> None:
    customer, begun = await by_transfer(actors)
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")
    await customer.advance(to="2027-02-01T10:00:00Z")
    [_, renewal] = await customer.invoices()
    assert (renewal["status"], renewal["due_at"]) == ("open", instant("2027-02-11T10:00:00Z"))
    asked = (await customer.subscription())["next_action"]
    assert asked["payment_reference"] == renewal["payment_reference"]
    await customer.advance(to="2027-02-11T09:59:59Z")
    assert (await customer.subscription())["status"] == "active"
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    await approved(customer, await sent(customer, asked, "T-2"))
    await customer.until_subscription("active")
    assert await customer.effects(None) == [], "no card is tried"


async def test_a_transfer_nobody_sends_ends_as_a_declined_card_would(actors: Actors) -> None:
    customer, begun = await by_transfer(actors)
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")
    await customer.advance(to="2027-02-19T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    assert await customer.effects(None) == []


@pytest.mark.parametrize("trial", [False, True])
async def test_a_customer_does_not_grant_itself_terms_of_payment(
    actors: Actors, trial: bool
) -> None:
    customer = await actors.customer_on_clock(START)
    body = {"plan": "basic", "trial": trial, "collection": "send_invoice", "days_until_due": 365}
    problem = await customer.refused("FORBIDDEN", "POST", "/billing/subscription", body)
    assert problem["status"] == 403
    assert "role service or admin" in problem["detail"]
    assert await customer.invoices() == []
    begun = await customer.subscribe_by_transfer()
    assert (begun["collection"], begun["days_until_due"]) == ("send_invoice", 30)


async def test_days_until_due_goes_with_sent_invoices_alone(customer: Customer) -> None:
    body = {"plan": "basic", "trial": False, "days_until_due": 10}
    await customer.refused("VALIDATION_FAILED", "POST", "/billing/subscription", body)


async def paused(actors: Actors) -> Customer:
    """A customer without a card, who paid one period by transfer and has paused since."""
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe_by_transfer(days_until_due=10)
    await approved(customer, await sent(customer, begun["next_action"], "T-1"))
    await customer.until_subscription("active")
    await customer.advance(to="2027-01-11T10:00:00Z")
    await customer.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    return customer


@pytest.mark.parametrize("body", [{}, {"payment_method": "card"}])
async def test_a_resumption_is_sent_as_a_renewal_is(actors: Actors, body: Json) -> None:
    customer = await paused(actors)
    resume = "/billing/subscription/resume"
    seen = await customer.ask("POST", f"{resume}?dry_run=true", body, status=200)
    assert (seen["status"], seen["due_now_cents"]) == ("active", 1900)

    resumed = await customer.ask("POST", resume, body, key="r", status=200)

    assert resumed["status"] == "active"
    assert resumed["current_period_end"] == "2027-02-11T10:00:00Z"
    asked = resumed["next_action"]
    assert (asked["type"], asked["amount_cents"]) == ("manual", 1900)
    [_, sent_one] = await customer.invoices()
    assert (sent_one["status"], sent_one["due_at"]) == ("open", instant("2027-01-21T10:00:00Z"))
    assert await customer.credits() == 100, "those of the first cycle: the new ones wait for money"
    await approved(customer, await sent(customer, asked, "T-2"))
    assert await customer.credits() == 200
    await check_books(customer)
    assert await customer.effects(None) == [], "no card is tried"


async def test_a_resumption_nobody_pays_is_overdue_after_its_days(actors: Actors) -> None:
    customer = await paused(actors)
    body = {"resume": True}
    foreseen = await customer.ask(
        "POST", "/billing/pay-overdue", body | {"dry_run": True}, status=200
    )
    paid = await customer.ask("POST", "/billing/pay-overdue", body, key="p", status=200)
    assert foreseen["charged_cents"] == paid["charged_cents"] == 0, "it is sent, and not charged"
    assert foreseen["subscription"] == paid["subscription"]
    assert paid["resumption"]["amount_cents"] == paid["next_action"]["amount_cents"] == 1900
    await customer.advance(to="2027-01-21T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
