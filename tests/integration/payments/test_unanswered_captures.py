"""A capture at PayPal whose answer is lost may bring money: nothing settles its debt before."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import overdue, owed, steer
from tests.integration.payments.test_paypal import BACK, entries, order_of
from tests.integration.payments.test_refused_orders import tries

Verb = Callable[[Customer, str, int], Awaitable[Json]]


async def void(customer: Customer, invoice: str, status: int) -> Json:
    """Void the invoice."""
    path = f"/admin/invoices/{invoice}/void"
    return await customer.actors.operate("POST", path, {"reason": "wrong"}, status=status)


async def credit(customer: Customer, invoice: str, status: int) -> Json:
    """Credit all that is owed."""
    path, body = f"/admin/invoices/{invoice}/credit-note", {"amount_cents": 4900, "reason": "x"}
    return await customer.actors.operate("POST", path, body, key=str(uuid4()), status=status)


async def forgive(customer: Customer, _: str, status: int) -> Json:
    """Forgive the debt."""
    return await steer(customer, "forgive", {"reason": "goodwill"}, status=status)


async def ordered(actors: Actors) -> tuple[Customer, Json, str]:
    """An overdue invoice, and the order that its payer pays it with."""
    customer = await overdue(actors)
    invoice = await owed(customer)
    body = {"payment_method": "paypal", "return_url": BACK}
    path = f"/billing/invoices/{invoice['invoice_id']}/pay"
    return customer, invoice, order_of(await customer.ask("POST", path, body, key="k"))


@pytest.mark.parametrize("verb", [void, credit, forgive])
async def test_a_debt_is_not_settled_otherwise_while_the_answer_of_its_capture_is_lost(
    actors: Actors, verb: Verb
) -> None:
    customer, invoice, order = await ordered(actors)
    await actors.sandbox.paypal_steer(order, "unanswered")
    await actors.sandbox.paypal_approve(order)
    await wait_for(lambda: tries(customer, order), "the money is taken")
    refused = await verb(customer, invoice["invoice_id"], 409)
    assert refused["code"] == "PAYMENT_PENDING"
    await actors.sandbox.paypal_steer(order, "pays")
    await wait_for(
        lambda: entries(customer),
        "the capture is found",
        lambda seen: seen[0] == ("succeeded", None),
    )
    shown = await customer.ask("GET", f"/billing/invoices/{invoice['invoice_id']}")
    assert shown["status"] == "paid"


@pytest.mark.parametrize("verb", [void, credit, forgive])
async def test_a_debt_whose_capture_was_refused_is_settled_otherwise_at_once(
    actors: Actors, verb: Verb
) -> None:
    customer, invoice, order = await ordered(actors)
    await actors.sandbox.paypal_steer(order, "refused")
    await actors.sandbox.paypal_approve(order)
    await customer.until_handled("CHECKOUT.ORDER.APPROVED")
    await verb(customer, invoice["invoice_id"], 200)
