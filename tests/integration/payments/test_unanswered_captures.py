"""A capture at PayPal whose answer is lost may bring money: nothing settles its debt before, and
nothing else is charged for it.
"""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import overdue, owed, steer, tried
from tests.integration.money_seen import money
from tests.integration.payments.test_canceled_purchases import path_of
from tests.integration.payments.test_paypal import (
    BACK,
    begun_by_paypal,
    entries,
    is_captured,
    order_of,
    paid_once,
)
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


async def captured_late(customer: Customer, order: str) -> None:
    """Its payer approves the order; the capture is sent, and PayPal has yet to take the money."""
    await customer.actors.sandbox.paypal_steer(order, "late")
    await customer.actors.sandbox.paypal_approve(order)
    await wait_for(lambda: tries(customer, order), "the capture is sent")


async def a_card_instead(actors: Actors) -> tuple[Customer, Json, str, int]:
    """A payer who wants a card to be charged while the capture may still run, and the tries of
    cards before.
    """
    customer, invoice, order = await ordered(actors)
    await captured_late(customer, order)
    await customer.script("succeed")
    before = await tried(customer)
    path = f"/billing/invoices/{invoice['invoice_id']}/pay"
    answer = await customer.call("POST", path, {"payment_method": "saved_card"}, key="card")
    assert (answer.status_code, await tried(customer) - before) == (202, 0), answer.text
    return customer, invoice, order, before


async def until_paid(customer: Customer, invoice: Json) -> Json:
    """The invoice as soon as it is paid."""
    return await wait_for(
        lambda: customer.ask("GET", f"/billing/invoices/{invoice['invoice_id']}"),
        "the invoice is paid",
        lambda seen: seen["status"] == "paid",
    )


async def test_no_card_is_charged_while_a_lost_capture_may_still_take_the_money(
    actors: Actors,
) -> None:
    customer, invoice, order, before = await a_card_instead(actors)
    await actors.sandbox.paypal_settle(order, "COMPLETED")
    await until_paid(customer, invoice)
    assert (await entries(customer))[0] == ("succeeded", None), "by PayPal"
    assert (await tried(customer), await money(customer)) == (before, 0)


async def test_a_capture_that_never_ran_holds_a_card_up_for_five_minutes(actors: Actors) -> None:
    customer, invoice, _, before = await a_card_instead(actors)
    ago = "UPDATE payments SET capture_asked_at = capture_asked_at - interval '5 minutes'"
    await customer.rows(f"{ago} WHERE account_id = %(me)s AND capture_asked_at IS NOT NULL")
    await until_paid(customer, invoice)
    assert await tried(customer) == before + 1


async def test_a_purchase_is_not_canceled_while_a_lost_capture_may_still_take_the_money(
    customer: Customer,
) -> None:
    begun, order = await begun_by_paypal(customer)
    await captured_late(customer, order)
    await customer.ask("POST", path_of(begun), status=202)
    assert not await is_captured(customer, f"purchase/{begun['purchase_id']}")
    await customer.actors.sandbox.paypal_settle(order, "COMPLETED")
    await paid_once(customer, begun)
    await customer.refused("PURCHASE_STATE", "POST", path_of(begun))
