"""Payments: what confirming an intent comes to, card by card."""

from typing import Any

import pytest

from sandbox.cards import CARDS
from sandbox.control import SandboxControl
from tests.integration.sandbox.support import declined, refused

PRICE = {"amount": 999, "currency": "usd"}


async def test_a_payment_goes_from_no_card_to_paid(v1: Any, customer: str) -> None:
    intent = await v1.payment_intents.create_async({**PRICE, "customer": customer})
    assert intent.status == "requires_payment_method"
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    intent = await v1.payment_intents.update_async(intent.id, {"payment_method": "pm_card_visa"})
    assert intent.status == "requires_confirmation"
    intent = await v1.payment_intents.confirm_async(
        intent.id, {"expand": ["latest_charge.balance_transaction", "payment_method", "customer"]}
    )
    assert (intent.status, intent.amount_received) == ("succeeded", 999)
    assert intent.latest_charge.paid
    assert intent.latest_charge.balance_transaction.net == 999 - 59
    assert intent.payment_method.card.last4 == "4242"
    assert intent.customer.email == "ada@example.com"


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("visa_chargeDeclined", "card_declined", "generic_decline"),
        ("visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
        ("chargeDeclinedExpiredCard", "expired_card", None),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("chargeDeclinedProcessingError", "processing_error", None),
        ("chargeCustomerFail", "card_declined", "generic_decline"),
    ],
)
async def test_a_declined_card_leaves_a_failed_charge_and_a_reusable_intent(
    v1: Any, customer: str, card: str, code: str, decline_code: str | None
) -> None:
    made = await v1.payment_intents.create_async({**PRICE, "customer": customer})
    error = await declined(
        v1.payment_intents.confirm_async(made.id, {"payment_method": f"pm_card_{card}"})
    )
    assert (error.code, error.decline_code) == (code, decline_code)
    assert error.payment_intent.status == "requires_payment_method"
    intent = await v1.payment_intents.retrieve_async(made.id, {"expand": ["latest_charge"]})
    assert intent.last_payment_error.code == code
    assert intent.payment_method is None
    assert (intent.latest_charge.status, intent.latest_charge.id) == ("failed", error.charge)
    paid = await v1.payment_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    assert paid.last_payment_error is None
    charges = await v1.charges.list_async({"payment_intent": made.id})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]


@pytest.mark.parametrize("token", [c.token for c in CARDS.values() if c.charge == "succeed"])
async def test_every_card_that_should_pay_pays_or_asks(v1: Any, customer: str, token: str) -> None:
    intent = await v1.payment_intents.create_async(
        {**PRICE, "customer": customer, "payment_method": token, "confirm": True}
    )
    asks = CARDS[token].must_authenticate(off_session=False, set_up=False)
    assert intent.status == ("requires_action" if asks else "succeeded")


async def test_a_decline_at_creation_still_leaves_the_intent(v1: Any, customer: str) -> None:
    error = await declined(
        v1.payment_intents.create_async(
            {**PRICE, "payment_method": "pm_card_visa_chargeDeclined", "confirm": True}
        )
    )
    found = await v1.payment_intents.retrieve_async(error.payment_intent.id)
    assert found.status == "requires_payment_method"


async def test_a_paid_intent_cannot_be_confirmed_canceled_or_changed(
    v1: Any, customer: str
) -> None:
    paid = await v1.payment_intents.create_async(
        {**PRICE, "customer": customer, "payment_method": "pm_card_visa", "confirm": True}
    )
    for call in (
        v1.payment_intents.confirm_async(paid.id, {"payment_method": "pm_card_visa"}),
        v1.payment_intents.cancel_async(paid.id),
        v1.payment_intents.update_async(paid.id, {"amount": 5000}),
        v1.payment_intents.capture_async(paid.id),
    ):
        error = await refused(call)
        assert (error.http_status, error.code) == (400, "payment_intent_unexpected_state")
        assert error.error.payment_intent.status == "succeeded"
    described = await v1.payment_intents.update_async(paid.id, {"metadata": {"order": "7"}})
    assert described.metadata["order"] == "7"


async def test_a_canceled_intent_stays_canceled(v1: Any, customer: str) -> None:
    made = await v1.payment_intents.create_async({**PRICE, "customer": customer})
    gone = await v1.payment_intents.cancel_async(made.id, {"cancellation_reason": "abandoned"})
    assert (gone.status, gone.cancellation_reason) == ("canceled", "abandoned")
    assert gone.canceled_at
    for call in (
        v1.payment_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"}),
        v1.payment_intents.cancel_async(made.id),
    ):
        error = await refused(call)
        assert error.code == "payment_intent_unexpected_state"
        assert error.error.payment_intent.status == "canceled"


async def test_confirming_without_a_card_says_so(v1: Any) -> None:
    made = await v1.payment_intents.create_async(PRICE)
    error = await refused(v1.payment_intents.confirm_async(made.id))
    assert error.code == "payment_intent_unexpected_state"
    assert "missing a payment method" in str(error.user_message)


async def test_three_d_secure_with_the_customer_present_redirects_and_then_pays(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    made = await v1.payment_intents.create_async({**PRICE, "customer": customer})
    asked = await v1.payment_intents.confirm_async(
        made.id,
        {
            "payment_method": "pm_card_authenticationRequired",
            "return_url": "https://shop.example/back",
        },
    )
    assert asked.status == "requires_action"
    assert asked.next_action.type == "redirect_to_url"
    assert asked.next_action.redirect_to_url.url.endswith(f"/3ds/{made.id}")
    assert asked.latest_charge is None
    assert (await control.authenticate(made.id)).body["status"] == "succeeded"
    paid = await v1.payment_intents.retrieve_async(made.id, {"expand": ["latest_charge"]})
    card = paid.latest_charge.payment_method_details.card
    assert card.three_d_secure.result == "authenticated"
    assert (await control.authenticate(made.id)).status == 400


async def test_failed_three_d_secure_sends_the_intent_back(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    asked = await v1.payment_intents.create_async(
        {**PRICE, "payment_method": "pm_card_threeDSecure2Required", "confirm": True}
    )
    assert asked.next_action.type == "use_stripe_sdk"
    failed = await control.authenticate(asked.id, passed=False)
    assert failed.body["status"] == "requires_payment_method"
    found = await v1.payment_intents.retrieve_async(asked.id)
    assert found.last_payment_error.code == "payment_intent_authentication_failure"
    assert found.latest_charge is None


async def test_three_d_secure_passed_may_still_be_declined(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    asked = await v1.payment_intents.create_async(
        {
            **PRICE,
            "payment_method": "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            "confirm": True,
        }
    )
    await control.authenticate(asked.id)
    found = await v1.payment_intents.retrieve_async(asked.id)
    assert found.status == "requires_payment_method"
    assert found.last_payment_error.decline_code == "insufficient_funds"


async def test_no_card_is_set_up_while_its_owner_is_away(v1: Any, customer: str) -> None:
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    kept = {**PRICE, "customer": customer, "setup_future_usage": "off_session"}
    intent = await v1.payment_intents.create_async(kept)
    away = {"payment_method": card.id, "off_session": True}
    error = await refused(v1.payment_intents.confirm_async(intent.id, away))
    assert error.http_status == 400
    assert "`setup_future_usage` is also set" in str(error)
    paid = await v1.payment_intents.confirm_async(intent.id, {**away, "setup_future_usage": ""})
    assert (paid.status, paid.setup_future_usage) == ("succeeded", None)


async def test_off_session_three_d_secure_is_a_decline_that_asks_for_the_customer(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    card = await v1.payment_methods.attach_async(
        "pm_card_authenticationRequired", {"customer": customer}
    )
    error = await declined(
        v1.payment_intents.create_async(
            {
                **PRICE,
                "customer": customer,
                "payment_method": card.id,
                "off_session": True,
                "confirm": True,
            }
        )
    )
    assert (error.code, error.decline_code) == ("authentication_required",) * 2
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_method.id == card.id
    asked = await v1.payment_intents.confirm_async(
        error.payment_intent.id, {"payment_method": card.id}
    )
    assert asked.status == "requires_action"
    assert (await control.authenticate(asked.id)).body["status"] == "succeeded"


async def test_error_on_requires_action_fails_instead_of_asking(v1: Any) -> None:
    error = await declined(
        v1.payment_intents.create_async(
            {
                **PRICE,
                "payment_method": "pm_card_authenticationRequired",
                "confirm": True,
                "error_on_requires_action": True,
            }
        )
    )
    assert error.code == "authentication_required"


async def test_a_card_set_up_with_authentication_pays_off_session(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    asked = await v1.setup_intents.create_async(
        {
            "customer": customer,
            "payment_method": "pm_card_authenticationRequiredOnSetup",
            "confirm": True,
        }
    )
    await control.authenticate(asked.id)
    terms = {**PRICE, "customer": customer, "payment_method": asked.payment_method}
    paid = await v1.payment_intents.create_async({**terms, "off_session": True, "confirm": True})
    assert paid.status == "succeeded"
    present = await v1.payment_intents.create_async({**terms, "confirm": True})
    assert present.status == "requires_action"


async def test_a_card_saved_while_paying_is_attached_and_reusable(v1: Any, customer: str) -> None:
    paid = await v1.payment_intents.create_async(
        {
            **PRICE,
            "customer": customer,
            "payment_method": "pm_card_visa",
            "setup_future_usage": "off_session",
            "confirm": True,
        }
    )
    saved = await v1.customers.payment_methods.list_async(customer)
    assert [method.id for method in saved.data] == [paid.payment_method]
    again = await v1.payment_intents.create_async(
        {
            **PRICE,
            "customer": customer,
            "payment_method": paid.payment_method,
            "off_session": "recurring",
            "confirm": True,
        }
    )
    assert again.status == "succeeded"


async def test_a_card_used_without_being_saved_is_used_up(v1: Any) -> None:
    paid = await v1.payment_intents.create_async(
        {**PRICE, "payment_method": "pm_card_visa", "confirm": True}
    )
    error = await refused(
        v1.payment_intents.create_async(
            {**PRICE, "payment_method": paid.payment_method, "confirm": True}
        )
    )
    assert "may not be used again" in str(error.user_message)


async def test_another_customers_card_is_refused(v1: Any, customer: str) -> None:
    other = await v1.customers.create_async({})
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": other.id})
    mine = {**PRICE, "customer": customer, "payment_method": card.id, "confirm": True}
    assert "must be attached" in str(await refused(v1.payment_intents.create_async(mine)))
    nobodys = {**PRICE, "payment_method": card.id, "confirm": True}
    error = await refused(v1.payment_intents.create_async(nobodys))
    assert f"belongs to the Customer {other.id}" in str(error)


async def test_money_set_aside_is_captured_in_part_or_released(v1: Any, customer: str) -> None:
    terms = {**PRICE, "customer": customer, "payment_method": "pm_card_visa", "confirm": True}
    held = await v1.payment_intents.create_async({**terms, "capture_method": "manual"})
    assert (held.status, held.amount_capturable) == ("requires_capture", 999)
    taken = await v1.payment_intents.capture_async(held.id, {"amount_to_capture": 600})
    assert (taken.status, taken.amount_received) == ("succeeded", 600)
    held = await v1.payment_intents.create_async({**terms, "capture_method": "manual"})
    gone = await v1.payment_intents.cancel_async(held.id, {"expand": ["latest_charge"]})
    assert (gone.status, gone.latest_charge.refunded) == ("canceled", True)


async def test_a_payment_that_is_processing_ends_later(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    await control.script(customer, "processing", "processing")
    for outcome, status in (("succeed", "succeeded"), ("lost_card", "requires_payment_method")):
        made = await v1.payment_intents.create_async(
            {**PRICE, "customer": customer, "payment_method": "pm_card_visa", "confirm": True}
        )
        assert made.status == "processing"
        error = await refused(v1.payment_intents.cancel_async(made.id))
        assert error.code == "payment_intent_unexpected_state"
        assert (await control.settle(made.id, outcome)).body["status"] == status


async def test_a_browser_confirms_with_its_client_secret_only(
    v1: Any, sandbox: Any, control: SandboxControl, customer: str
) -> None:
    made = await v1.payment_intents.create_async({**PRICE, "customer": customer})
    outcome = await control.confirm_as_client(made.id, "pm_card_visa_chargeDeclined")
    assert (outcome.status, outcome.code) == (402, "card_declined")
    outcome = await control.confirm_as_client(made.id)
    assert outcome.body["status"] == "succeeded"


async def test_amounts_outside_stripes_bounds_are_refused(v1: Any) -> None:
    error = await refused(v1.payment_intents.create_async({"amount": 49, "currency": "usd"}))
    assert (error.code, error.param) == ("amount_too_small", "amount")
    error = await refused(v1.payment_intents.create_async({"amount": 10**8, "currency": "usd"}))
    assert error.code == "amount_too_large"
    tiny = await v1.payment_intents.create_async({"amount": 30, "currency": "gbp"})
    assert tiny.amount == 30


async def test_a_sum_may_be_out_of_bounds_where_it_is_converted(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    await control.script(customer, "amount_too_small", purpose="amount")
    terms = {**PRICE, "customer": customer}
    for _ in range(2):
        error = await refused(v1.payment_intents.create_async(terms))
        assert (error.code, error.param) == ("amount_too_small", "amount")
    await control.script(customer, purpose="amount")
    assert (await v1.payment_intents.create_async(terms)).amount == PRICE["amount"]


async def test_metadata_is_merged_cleared_by_key_and_cleared_whole(v1: Any) -> None:
    made = await v1.payment_intents.create_async({**PRICE, "metadata": {"a": "1", "b": "2"}})
    change = {"metadata": {"a": "", "c": "3"}}
    changed = await v1.payment_intents.update_async(made.id, change)
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    cleared = await v1.payment_intents.update_async(made.id, {"metadata": ""})
    assert cleared.metadata.to_dict() == {}
