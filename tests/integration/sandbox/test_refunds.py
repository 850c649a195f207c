"""Money back: at once, in parts, later, and in vain."""

from typing import Any

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import Receiver, refused, until


async def paid(v1: Any, customer: str, card: str = "pm_card_visa") -> Any:
    """A payment of 9.99."""
    return await v1.payment_intents.create_async(
        {
            "amount": 999,
            "currency": "usd",
            "customer": customer,
            "payment_method": card,
            "confirm": True,
        }
    )


async def becomes(v1: Any, refund: str, status: str) -> Any:
    """The refund, once it has a status."""

    async def read() -> Any:
        found = await v1.refunds.retrieve_async(refund)
        return found if found.status == status else None

    return await until(read)


async def test_a_payment_is_given_back_in_parts_and_never_more_than_it_was(
    v1: Any, customer: str
) -> None:
    intent = await paid(v1, customer)
    first = await v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 400, "reason": "requested_by_customer"}
    )
    assert (first.status, first.amount) == ("succeeded", 400)
    error = await refused(v1.refunds.create_async({"payment_intent": intent.id, "amount": 600}))
    assert "greater than unrefunded amount" in str(error)
    rest = await v1.refunds.create_async(
        {"charge": intent.latest_charge, "expand": ["charge", "balance_transaction"]}
    )
    assert (rest.amount, rest.charge.refunded, rest.charge.amount_refunded) == (599, True, 999)
    assert rest.balance_transaction.net == -599
    error = await refused(v1.refunds.create_async({"charge": intent.latest_charge}))
    assert error.code == "charge_already_refunded"
    listed = await v1.refunds.list_async({"payment_intent": intent.id})
    assert [refund.id for refund in listed.data] == [rest.id, first.id]
    charge = await v1.charges.retrieve_async(intent.latest_charge, {"expand": ["refunds"]})
    assert len(charge.refunds.data) == 2


async def test_an_unpaid_intent_has_nothing_to_give_back(v1: Any, customer: str) -> None:
    made = await v1.payment_intents.create_async({"amount": 999, "currency": "usd"})
    error = await refused(v1.refunds.create_async({"payment_intent": made.id}))
    assert "does not have a successful charge" in str(error)


async def test_a_pending_refund_arrives_later(v1: Any, receiver: Receiver, customer: str) -> None:
    intent = await paid(v1, customer, "pm_card_pendingRefund")
    refund = await v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "pending"
    await becomes(v1, refund.id, "succeeded")


async def test_a_refund_that_fails_leaves_the_money_with_the_seller(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    intent = await paid(v1, customer, "pm_card_refundFail")
    refund = await v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "succeeded"
    failed = await becomes(v1, refund.id, "failed")
    assert failed.failure_reason == "expired_or_canceled_card"
    charge = await v1.charges.retrieve_async(intent.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (False, 0)
    names = [row["name"] for row in await control.effects(customer=customer)]
    assert names == ["charge.succeeded", "refund.succeeded", "refund.failed"]


async def test_only_a_refund_waiting_for_the_customer_can_be_canceled(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    intent = await paid(v1, customer)
    await control.script(customer, "requires_action", purpose="refund")
    waiting = await v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})
    gone = await v1.refunds.cancel_async(waiting.id)
    assert (gone.status, gone.failure_reason) == ("canceled", "merchant_request")
    done = await v1.refunds.create_async({"payment_intent": intent.id, "metadata": {"why": "x"}})
    assert "cannot be canceled" in str(await refused(v1.refunds.cancel_async(done.id)))
    changed = await v1.refunds.update_async(done.id, {"metadata": {"why": "y"}})
    assert changed.metadata["why"] == "y"


async def test_the_balance_shows_what_charges_and_refunds_did(v1: Any, customer: str) -> None:
    intent = await paid(v1, customer)
    refund = await v1.refunds.create_async({"payment_intent": intent.id})
    booked = await v1.balance_transactions.list_async({"source": intent.latest_charge})
    assert [(row.type, row.amount, row.fee) for row in booked.data] == [("charge", 999, 59)]
    found = await v1.balance_transactions.retrieve_async(
        refund.balance_transaction, {"expand": ["source"]}
    )
    assert (found.type, found.amount, found.source.id) == ("refund", -999, refund.id)


async def test_a_disputed_card_brings_a_dispute_and_an_inquiry_takes_no_money(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    intent = await paid(v1, customer, "pm_card_createDispute")
    asked = await paid(v1, customer, "pm_card_createDisputeInquiry")

    async def disputes(intent_id: str) -> list[Any]:
        listed = await v1.disputes.list_async({"payment_intent": intent_id})
        return list(listed.data)

    (taken,) = await until(lambda: disputes(intent.id))
    (inquiry,) = await until(lambda: disputes(asked.id))
    assert (taken.reason, taken.status) == ("fraudulent", "needs_response")
    assert taken.balance_transactions[0].net == -(999 + 1500)
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    error = await refused(v1.refunds.create_async({"payment_intent": intent.id}))
    assert error.code == "charge_disputed"


async def test_a_dispute_is_won_or_lost_and_a_dashboard_refunds(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    intent = await paid(v1, customer)
    back = await control.refund(intent.id, 300)
    assert (back.status, back.body["amount"], back.body["status"]) == (200, 300, "succeeded")
    opened = await control.dispute(intent.id)
    ended = await control.finish_dispute(opened.body["id"], "won")
    assert (ended.body["status"], len(ended.body["balance_transactions"])) == ("won", 2)
    again = await control.finish_dispute(opened.body["id"], "lost")
    assert again.status == 400
    listed = await v1.disputes.list_async({"payment_intent": intent.id})
    assert [one.status for one in listed.data] == ["won"]
