"""A look that Stripe refuses proves nothing: under another account's key it knows no object."""

from functools import partial

from tests.integration.actors import Actors, wait_for
from tests.integration.reversals.refunds_made import paid_for, refunded, shown

CONFIRM = "/v1/payment_intents/*/confirm"
INTENTS = "/v1/payment_intents"
INTENT = "/v1/payment_intents/*"
HALTED = "SELECT workflow_id FROM matters WHERE account_id = %(me)s AND status = 'halted'"


async def test_a_purchase_does_not_fail_where_the_look_at_its_charged_card_is_refused(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    mine = {"account": customer.id}
    plan = actors.sandbox.fault
    await plan("reset_after", method="POST", path=CONFIRM, metadata=mine)
    refused = await plan("error_400_stored", method="GET", path=INTENT, times=None, metadata=mine)
    async with customer.unheard():
        begun = await customer.buy("small", "saved_card")
        await wait_for(partial(customer.rows, HALTED), "it waits, and operators see that")
        assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
        await actors.sandbox.clear("faults", refused)
        (payment,) = (await customer.ask("GET", "/billing/payments"))["data"]
        await actors.operate("POST", f"/admin/payments/{payment['payment_id']}/check")
        await customer.until_purchase(begun["purchase_id"], "completed")
    assert len(await customer.effects()) == 1
    assert "evt.billing.purchase.failed" not in await customer.published()


async def test_a_purchase_does_not_fail_where_the_search_for_its_lost_intent_is_refused(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    payer, mine = await customer.stripe_customer(), {"account": customer.id}
    plan = actors.sandbox.fault
    await plan("reset_after", method="POST", path=INTENTS, metadata=mine)
    refused = await plan("error_400_stored", method="GET", path=INTENTS, times=None, customer=payer)
    begun = await customer.buy("small")
    purchase_id = begun["purchase_id"]
    assert begun["next_action"] == {"type": "wait"}
    await wait_for(partial(customer.rows, HALTED), "it waits, and operators see that")
    assert (await customer.purchase(purchase_id))["status"] == "pending"
    await actors.sandbox.clear("faults", refused)
    await actors.operate("POST", f"/admin/matters/purchase/{purchase_id}/resume")
    found = await wait_for(
        partial(customer.purchase, purchase_id),
        "its payer can pay",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    await customer.pay(found)
    await customer.until_purchase(purchase_id, "completed")
    assert len(await customer.effects()) == 1


async def test_a_refund_does_not_fail_where_the_look_for_it_is_refused(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment, plan = await paid_for(customer), actors.sandbox.fault
    mine = {"account": customer.id}
    await plan("reset_after", method="POST", path="/v1/refunds", metadata=mine)
    refused = await plan("error_400_stored", method="GET", path="/v1/refunds", times=None)
    async with customer.unheard():
        try:
            asked = await refunded(customer, payment, 333, status=202)
            assert asked["status"] == "pending"
        finally:
            await actors.sandbox.clear("faults", refused)
        await wait_for(
            partial(shown, customer, payment),
            "it is found",
            lambda seen: seen[0]["amount_refunded"] == 333,
        )
    assert [one["amount"] for one in await customer.effects("refund.succeeded")] == [333]
