"""Saving a card by a SetupIntent."""

from typing import Any

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import declined, refused


async def test_a_saved_card_belongs_to_the_customer(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    made = await v1.setup_intents.create_async(
        {"customer": customer, "automatic_payment_methods": {"enabled": True}}
    )
    assert (made.status, made.usage) == ("requires_payment_method", "off_session")
    done = await control.confirm_as_client(made.id)
    assert done.body["status"] == "succeeded"
    found = await v1.setup_intents.retrieve_async(made.id, {"expand": ["payment_method"]})
    assert found.payment_method.customer == customer
    error = await refused(v1.setup_intents.confirm_async(made.id))
    assert error.code == "setup_intent_unexpected_state"
    assert error.error.setup_intent.status == "succeeded"


async def test_a_declined_card_fails_the_set_up_and_another_one_mends_it(
    v1: Any, customer: str
) -> None:
    made = await v1.setup_intents.create_async({"customer": customer})
    error = await declined(
        v1.setup_intents.confirm_async(made.id, {"payment_method": "pm_card_visa_chargeDeclined"})
    )
    assert error.setup_intent.status == "requires_payment_method"
    assert error.setup_intent.last_setup_error.decline_code == "generic_decline"
    done = await v1.setup_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"})
    assert done.status == "succeeded"


async def test_three_d_secure_stands_before_saving(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    asked = await v1.setup_intents.create_async(
        {
            "customer": customer,
            "payment_method": "pm_card_authenticationRequired",
            "confirm": True,
            "return_url": "https://shop.example/saved",
        }
    )
    assert asked.next_action.redirect_to_url.return_url == "https://shop.example/saved"
    failed = await control.authenticate(asked.id, passed=False)
    assert failed.body["last_setup_error"]["code"] == "setup_intent_authentication_failure"
    assert (await v1.customers.payment_methods.list_async(customer)).data == []


async def test_a_set_up_can_be_changed_listed_and_canceled(v1: Any, customer: str) -> None:
    made = await v1.setup_intents.create_async({"customer": customer, "usage": "on_session"})
    changed = await v1.setup_intents.update_async(
        made.id, {"description": "for later", "payment_method": "pm_card_visa"}
    )
    assert (changed.status, changed.description) == ("requires_confirmation", "for later")
    listed = await v1.setup_intents.list_async({"customer": customer})
    assert [intent.id for intent in listed.data] == [made.id]
    gone = await v1.setup_intents.cancel_async(made.id, {"cancellation_reason": "duplicate"})
    assert (gone.status, gone.cancellation_reason) == ("canceled", "duplicate")


async def test_a_card_that_another_customer_has_meanwhile_is_not_saved(
    v1: Any, customer: str
) -> None:
    card = await v1.payment_methods.create_async({"type": "card", "card": {"token": "tok_visa"}})
    made = await v1.setup_intents.create_async({"customer": customer, "payment_method": card.id})
    other = await v1.customers.create_async({})
    await v1.payment_methods.attach_async(card.id, {"customer": other.id})
    await refused(v1.setup_intents.confirm_async(made.id))
    assert (await v1.payment_methods.retrieve_async(card.id)).customer == other.id


async def test_types_that_a_set_up_would_not_follow_any_more_are_refused(
    v1: Any, customer: str
) -> None:
    made = await v1.setup_intents.create_async({"customer": customer})
    for act in (v1.setup_intents.update_async, v1.setup_intents.confirm_async):
        error = await refused(act(made.id, {"allowed_payment_method_types": ["card"]}))
        assert (error.code, error.param) == ("parameter_unknown", "allowed_payment_method_types")
