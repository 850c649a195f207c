"""Customers and the cards they keep."""

from typing import Any

import pytest

from sandbox.cards import CARDS
from tests.integration.sandbox.support import declined, refused


async def test_a_customer_is_made_changed_and_removed(v1: Any) -> None:
    made = await v1.customers.create_async(
        {
            "email": "eve@example.com",
            "address": {"line1": "1 Main St", "country": "DE"},
            "preferred_locales": ["de", "en"],
            "metadata": {"account": "acc_1"},
        }
    )
    assert (made.address.country, made.address.city) == ("DE", None)
    change = {"name": "Eve", "email": "", "metadata": {"tier": "gold"}, "tax_exempt": "reverse"}
    changed = await v1.customers.update_async(made.id, change)
    assert (changed.name, changed.email, changed.tax_exempt) == ("Eve", None, "reverse")
    assert changed.metadata.to_dict() == {"account": "acc_1", "tier": "gold"}
    gone = await v1.customers.delete_async(made.id)
    assert gone.deleted
    again = await v1.customers.retrieve_async(made.id)
    assert again.deleted
    assert (await refused(v1.customers.update_async(made.id, {"name": "x"}))).http_status == 404


async def test_an_unknown_customer_is_a_404_and_as_a_parameter_a_400(v1: Any) -> None:
    error = await refused(v1.customers.retrieve_async("cus_nobody"))
    assert (error.http_status, error.code) == (404, "resource_missing")
    call = v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": "cus_nobody"}
    )
    error = await refused(call)
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "customer")


async def test_each_use_of_a_token_is_a_new_card(v1: Any, customer: str) -> None:
    one = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    two = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    assert one.id != two.id
    assert one.card.fingerprint == two.card.fingerprint
    saved = await v1.payment_methods.list_async({"customer": customer, "type": "card"})
    assert [method.id for method in saved.data] == [two.id, one.id]


@pytest.mark.parametrize("token", [card.token for card in CARDS.values() if not card.attaches])
async def test_a_card_its_issuer_declines_cannot_be_saved(
    v1: Any, customer: str, token: str
) -> None:
    error = await declined(v1.payment_methods.attach_async(token, {"customer": customer}))
    assert error.code in ("card_declined", "expired_card", "incorrect_cvc", "processing_error")
    assert (await v1.customers.payment_methods.list_async(customer)).data == []


async def test_the_card_for_failing_renewals_saves_and_then_fails_every_charge(
    v1: Any, customer: str
) -> None:
    card = await v1.payment_methods.attach_async(
        "pm_card_chargeCustomerFail", {"customer": customer}
    )
    for _ in range(2):
        error = await declined(
            v1.payment_intents.create_async(
                {
                    "amount": 4900,
                    "currency": "usd",
                    "customer": customer,
                    "payment_method": card.id,
                    "off_session": True,
                    "confirm": True,
                }
            )
        )
        assert error.decline_code == "generic_decline"


async def test_a_default_card_must_belong_to_the_customer_and_goes_when_detached(
    v1: Any, customer: str
) -> None:
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    settings = {"invoice_settings": {"default_payment_method": card.id}}
    other = await v1.customers.create_async({})
    error = await refused(v1.customers.update_async(other.id, settings))
    assert error.code == "resource_missing"
    await v1.customers.update_async(customer, settings)
    found = await v1.customers.retrieve_async(
        customer, {"expand": ["invoice_settings.default_payment_method"]}
    )
    assert found.invoice_settings.default_payment_method.card.last4 == "4242"
    detached = await v1.payment_methods.detach_async(card.id)
    assert detached.customer is None
    found = await v1.customers.retrieve_async(customer)
    assert found.invoice_settings.default_payment_method is None
    error = await refused(v1.payment_methods.attach_async(card.id, {"customer": customer}))
    assert "may not be used again" in str(error)


async def test_a_card_belongs_to_one_customer(v1: Any, customer: str) -> None:
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    other = await v1.customers.create_async({})
    error = await refused(v1.payment_methods.attach_async(card.id, {"customer": other.id}))
    assert error.code == "payment_method_unexpected_state"
    mine = await v1.customers.payment_methods.retrieve_async(customer, card.id)
    assert mine.id == card.id
    error = await refused(v1.customers.payment_methods.retrieve_async(other.id, card.id))
    assert error.http_status == 404


async def test_a_card_is_made_from_a_test_token_never_from_a_number(v1: Any, customer: str) -> None:
    details = {"name": "Eve", "address": {"country": "DE"}}
    made = await v1.payment_methods.create_async(
        {"type": "card", "card": {"token": "tok_mastercard"}, "billing_details": details}
    )
    assert (made.card.brand, made.billing_details.address.country) == ("mastercard", "DE")
    number = {"number": "4242424242424242", "exp_month": 1, "exp_year": 2030, "cvc": "123"}
    error = await refused(v1.payment_methods.create_async({"type": "card", "card": number}))
    assert "generally unsafe" in str(error)


async def test_a_saved_card_can_be_renewed_and_renamed(v1: Any, customer: str) -> None:
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    changed = await v1.payment_methods.update_async(
        card.id, {"card": {"exp_year": 2040}, "billing_details": {"name": "Ada L."}}
    )
    assert (changed.card.exp_year, changed.billing_details.name) == (2040, "Ada L.")
    loose = await v1.payment_methods.retrieve_async("pm_card_visa")
    error = await refused(v1.payment_methods.update_async(loose.id, {"metadata": {"a": "b"}}))
    assert "must save this PaymentMethod" in str(error)


async def test_what_is_saved_and_no_card_is_renamed_too(v1: Any, customer: str) -> None:
    link = await v1.payment_methods.attach_async("pm_link", {"customer": customer})
    changed = await v1.payment_methods.update_async(link.id, {"metadata": {"a": "b"}})
    assert changed.metadata["a"] == "b"
    error = await refused(v1.payment_methods.update_async(link.id, {"card": {"exp_year": 2040}}))
    assert error.param == "card"


async def test_a_customer_may_be_made_with_a_card(v1: Any) -> None:
    made = await v1.customers.create_async({"payment_method": "pm_card_visa"})
    assert len((await v1.customers.payment_methods.list_async(made.id)).data) == 1
