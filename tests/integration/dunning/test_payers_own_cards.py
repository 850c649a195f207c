"""A payer who uses another card in the browser just as ours is tried: each keeps its own result."""

from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json, intent_of, wait_for
from tests.integration.dunning.dunning_setup import attempts, overdue, owed

LAST_CHECK: Final = "2027-02-04T09:00:00Z"
"""Stripe was asked at 11:00 on the day before, and is next at 11:00."""
SLOT: Final = "2027-02-04T10:00:00Z"
STOLEN: Final = "pm_card_visa_chargeDeclinedStolenCard"


async def offered(actors: Actors) -> tuple[Customer, str, Json]:
    """An overdue renewal on the day of its second slot, and the payment that its payer opened."""
    customer = await overdue(actors)
    invoice = (await owed(customer))["invoice_id"]
    pay, body = f"/billing/invoices/{invoice}/pay", {"payment_method": "card"}
    begun = await customer.ask("POST", pay, body, key="k", status=200)
    await customer.advance(to=LAST_CHECK)
    await customer.script()
    return customer, invoice, begun


async def cards(customer: Customer) -> dict[str, tuple[bool, bool]]:
    """If each card of the account is the default, and if it is barred; by its brand."""
    rows = await customer.rows(
        "SELECT brand, is_default, barred_at FROM payment_methods"
        " WHERE account_id = %(me)s AND status = 'active' ORDER BY created_at"
    )
    return {one["brand"]: (one["is_default"], one["barred_at"] is not None) for one in rows}


async def paid_with(customer: Customer, invoice: str) -> str | None:
    """The brand of the card that has paid an invoice."""
    path = f"/billing/invoices/{invoice}"
    await wait_for(
        lambda: customer.ask("GET", path), "it is paid", lambda one: one["status"] == "paid"
    )
    rows = await customer.rows(
        "SELECT p.paid_with ->> 'brand' AS brand FROM payments p JOIN invoices i"
        " ON i.id = p.invoice_id WHERE p.account_id = %(me)s AND p.status = 'succeeded'"
        " ORDER BY p.settled_at DESC LIMIT 1"
    )
    return rows[0]["brand"] if rows else None


async def test_a_slot_that_comes_after_the_payers_card_keeps_that_card(actors: Actors) -> None:
    customer, invoice, begun = await offered(actors)
    async with customer.unheard():
        await customer.pay(begun, "pm_card_mastercard")
        await customer.advance(to=SLOT)
    assert await paid_with(customer, invoice) == "mastercard"
    assert await attempts(customer) == [("attempt-0", "declined"), ("attempt-1", "unreached")]
    assert await cards(customer) == {"visa": (False, False), "mastercard": (True, False)}
    assert len(await customer.effects()) == 2, "the first payment, and one for the renewal"


async def test_a_card_asked_for_after_the_payers_own_has_paid_is_not_told_as_a_failure(
    actors: Actors,
) -> None:
    customer, invoice, begun = await offered(actors)
    async with customer.unheard():
        await customer.pay(begun, "pm_card_mastercard")
        path = f"/billing/invoices/{invoice}/pay"
        answer = await customer.ask("POST", path, {}, key=str(uuid4()), status=200)
    assert answer["status"] == "paid"
    assert await paid_with(customer, invoice) == "mastercard"
    assert await cards(customer) == {"visa": (False, False), "mastercard": (True, False)}


async def test_a_payers_card_that_has_paid_before_it_was_called_back_is_kept(
    actors: Actors,
) -> None:
    customer, invoice, begun = await offered(actors)
    async with customer.unheard():
        await customer.pay(begun, "pm_card_mastercard")
        report = {
            "invoice_id": invoice, "payment_method": "bank_transfer", "transaction_reference": "T",
        }  # fmt: skip
        answer = await customer.call("POST", "/billing/payments/manual", report, key="by hand")
        assert await paid_with(customer, invoice) == "mastercard", answer.text
    assert await cards(customer) == {"visa": (False, False), "mastercard": (True, False)}


async def test_a_payers_debit_that_the_bank_decides_on_is_not_the_slots(actors: Actors) -> None:
    customer, invoice, begun = await offered(actors)
    async with customer.unheard():
        await customer.pay(begun, "pm_usBankAccount_insufficientFunds")
        await customer.advance(to=SLOT)
    tries = [("attempt-0", "declined"), ("attempt-1", "unreached")]
    assert await attempts(customer) == tries
    rows = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments"
        " WHERE account_id = %(me)s AND status = 'processing'"
    )
    assert len(rows) == 1, rows
    await customer.actors.sandbox.settle(rows[0]["intent"])
    await customer.advance(days=1)
    assert await paid_with(customer, invoice) == "visa", "the slot is made again"


async def test_a_decline_of_the_payers_card_is_not_the_slots(actors: Actors) -> None:
    """Stripe lets nobody else confirm while the payer's card is tried: it answers 429."""
    customer, invoice, begun = await offered(actors)
    sandbox, path = actors.sandbox, f"/v1/payment_intents/{intent_of(begun)}/confirm"
    async with customer.unheard():
        lock = await sandbox.fault("error_429", method="POST", path=path, times=None)
        await customer.aim_clock(to=SLOT)
        await wait_for(
            lambda: attempts(customer), "the slot's try has begun",
            lambda tries: tries[-1] == ("attempt-1", "pending"),
        )  # fmt: skip
        assert (await customer.confirm(begun, STOLEN)).status == 402
        await sandbox.clear("faults", lock)
        assert await paid_with(customer, invoice) == "visa"
    assert await attempts(customer) == [("attempt-0", "declined"), ("attempt-1", "succeeded")]
    assert await cards(customer) == {"visa": (True, False)}, "its own bank bars no card"
