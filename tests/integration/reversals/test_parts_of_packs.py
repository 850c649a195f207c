"""Money that comes in parts, or goes back before it is seen, and then again."""

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dashboard import cancel_refund
from tests.integration.invoices.operator_commands import commanded
from tests.integration.invoices.test_operating import from_outside
from tests.integration.money_seen import money, newest_invoice
from tests.integration.operator_acts import check_books
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.payments.test_cancels import intent, subscribed_at_a_slow_bank
from tests.integration.reversals.outside_events import until_credits
from tests.integration.reversals.refunds_made import WHY, paid_for, refunded, shown

REFUNDS = "SELECT status, stripe_refund_id AS id FROM refunds WHERE account_id = %(me)s"


async def until_refund(customer: Customer, status: str) -> str:
    """The provider's id of the account's one refund, once it has this status with us."""
    (found,) = await wait_for(
        lambda: customer.rows(REFUNDS),
        f"a refund is {status}",
        lambda seen: [one["status"] for one in seen] == [status],
    )
    return str(found["id"])


async def until_money(customer: Customer, cents: int) -> None:
    """The money balance comes to this."""
    await wait_for(lambda: money(customer), f"{cents} on the balance", lambda now: now == cents)


async def on_its_way_back(actors: Actors, customer: Customer, paid: str) -> str:
    """A refund of all in the dashboard, that waits for its payer; the payment is not seen yet."""
    payer = await customer.stripe_customer()
    await actors.sandbox.webhooks("hold", customer=payer, types=["*"])
    assert (await actors.sandbox.settle(paid, "succeed")).status == 200
    await actors.sandbox.script(payer, "requires_action", purpose="refund")
    assert (await actors.sandbox.refund(paid)).status == 200
    await actors.sandbox.release(customer=payer, types=["refund.created"])
    return await until_refund(customer, "processing")


async def slow_pack(customer: Customer) -> tuple[Json, str]:
    """A pack whose card's bank takes its time, and the intent."""
    await customer.save_card()
    await customer.script("processing")
    begun = await customer.buy("small", "saved_card")
    return begun, await intent(customer)


async def test_money_whose_refund_failed_after_it_bought_nothing_goes_back_once(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    begun, paid = await slow_pack(customer)
    refund = await on_its_way_back(actors, customer, paid)
    await actors.sandbox.release(customer=await customer.stripe_customer())
    await customer.until_purchase(begun["purchase_id"], "failed")
    assert await money(customer) == 0, "it is on its way, and pays for nothing meanwhile"
    await check_books(customer)
    proof = await customer.ask("GET", f"/billing/purchases/{begun['purchase_id']}/proof")
    assert proof["consistent"], proof["checks"]
    await cancel_refund(customer, refund)
    await actors.sandbox.release(customer=await customer.stripe_customer())
    await until_money(customer, 999)
    await check_books(customer)
    again = await refunded(customer, await paid_for(customer))
    assert (again["status"], again["from_balance_cents"]) == ("succeeded", 999)
    assert await money(customer) == 0
    assert (await paid_for(customer))["status"] == "refunded"


@pytest.mark.parametrize("again", ["operator", "dashboard"])
async def test_a_first_payment_whose_refund_failed_goes_back_from_the_balance(
    actors: Actors, again: str
) -> None:
    customer, paid = await subscribed_at_a_slow_bank(actors)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    refund = await on_its_way_back(actors, customer, paid)
    await actors.sandbox.release(customer=await customer.stripe_customer())
    await wait_for(
        lambda: customer.rows("SELECT id FROM payments WHERE settled_at IS NOT NULL"
                              " AND account_id = %(me)s"),
        "its money is seen", lambda seen: len(seen) == 1,
    )  # fmt: skip
    await cancel_refund(customer, refund)
    await actors.sandbox.release(customer=await customer.stripe_customer())
    await until_money(customer, 1900)
    await check_books(customer)
    if again == "operator":
        await refunded(customer, await paid_for(customer))
    else:
        assert (await actors.sandbox.refund(paid)).status == 200
        await actors.sandbox.release(customer=await customer.stripe_customer())
    await until_money(customer, 0)
    assert (await paid_for(customer))["status"] == "refunded"


async def test_a_pack_bought_late_in_two_parts_is_refunded_as_each_paid_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    first = await submit(customer, begun["invoice_id"])
    await decide(customer, first, "approve", amount_minor=600)
    await customer.advance(days=14)
    assert await money(customer) == 600
    rest = await submit(customer, begun["invoice_id"])
    await decide(customer, rest, "approve", amount_minor=399)
    await customer.until_purchase(begun["purchase_id"], "completed")
    late = await newest_invoice(customer)
    refused = await refunded(customer, first, status=409)
    assert (refused["code"], refused["left_cents"]) == ("REFUND_TOO_LARGE", 0)
    back = await refunded(customer, rest, reference="OUT-1")
    assert (back["amount_cents"], back["credited_cents"]) == (399, 399)
    await until_credits(customer, "60.06006")
    await commanded(customer, late, "credit-note", WHY | {"amount_cents": 600, "to": "balance"})
    back = await refunded(customer, first, reference="OUT-2")
    assert (back["amount_cents"], back["from_balance_cents"]) == (600, 600)
    assert await money(customer) == 0
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "refunded"
    draft = (await shown(customer, first))[1]
    late = await customer.ask("GET", f"/billing/invoices/{late['invoice_id']}")
    assert (draft["amount_refunded"], late["amount_refunded"]) == (600, 399)


async def test_a_part_that_came_by_hand_stays_where_the_cards_money_went_back(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    begun, paid = await slow_pack(customer)
    invoice = {"invoice_id": begun["invoice_id"]}
    await commanded(customer, invoice, "record-payment", from_outside(400))
    await on_its_way_back(actors, customer, paid)
    await actors.sandbox.release(customer=await customer.stripe_customer())
    await wait_for(
        lambda: customer.rows("SELECT id FROM payments WHERE flow = 'saved_card'"
                              " AND settled_at IS NOT NULL AND account_id = %(me)s"),
        "the card's money is seen", lambda seen: len(seen) == 1,
    )  # fmt: skip
    asked = await customer.purchase(begun["purchase_id"])
    assert (asked["status"], asked["next_action"]["amount_cents"]) == ("pending", 599)
    await check_books(customer)
    await commanded(customer, invoice, "record-payment", from_outside(599))
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await customer.credits() == 100
    assert await money(customer) == 0
