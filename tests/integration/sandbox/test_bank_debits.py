"""Bank accounts that are debited: processing until they are settled, in one currency each."""

from typing import Any

import pytest

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import declined, refused


@pytest.mark.parametrize(
    ("account", "currency", "status", "code"),
    [
        ("pm_usBankAccount_success", "usd", "succeeded", None),
        ("pm_usBankAccount_insufficientFunds", "usd", "requires_payment_method", "card_declined"),
        ("pm_usBankAccount_accountClosed", "usd", "requires_payment_method", "account_closed"),
        ("pm_sepaDebit_success", "eur", "succeeded", None),
        ("pm_sepaDebit_failed", "eur", "requires_payment_method", "debit_not_authorized"),
    ],
)
async def test_a_debit_ends_as_its_account_does(
    v1: Any, control: SandboxControl, customer: str, account: str, currency: str,
    status: str, code: str | None,
) -> None:  # fmt: skip
    terms = {"amount": 900, "customer": customer, "payment_method": account, "confirm": True}
    made = await v1.payment_intents.create_async({**terms, "currency": currency})
    assert made.status == "processing"
    await control.settle(made.id)
    ended = await v1.payment_intents.retrieve_async(made.id, {"expand": ["latest_charge"]})
    failure = ended.last_payment_error
    assert (ended.status, failure.code if failure else None) == (status, code)
    assert ended.latest_charge.payment_method_details.type in ("us_bank_account", "sepa_debit")
    other = "eur" if currency == "usd" else "usd"
    error = await refused(v1.payment_intents.create_async({**terms, "currency": other}))
    assert error.param == "payment_method"


async def test_a_debit_is_canceled_in_the_dashboard_while_its_bank_decides(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    terms = {"amount": 900, "currency": "usd", "customer": customer, "confirm": True}
    account = {"payment_method": "pm_usBankAccount_success"}
    made = await v1.payment_intents.create_async({**terms, **account})
    refusal = await refused(v1.payment_intents.cancel_async(made.id))
    assert refusal.code == "payment_intent_unexpected_state", "Stripe does it in rare cases"
    assert (await control.cancel(made.id)).body["status"] == "canceled"
    ended = await v1.payment_intents.retrieve_async(made.id, {"expand": ["latest_charge"]})
    assert (ended.status, ended.latest_charge.status) == ("canceled", "failed")
    assert (await control.settle(made.id)).status == 400, "there is nothing left to decide"


async def test_an_account_is_saved_like_a_card(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    made = await v1.setup_intents.create_async({"customer": customer})
    done = await control.confirm_as_client(made.id, "pm_usBankAccount_success")
    assert done.body["status"] == "succeeded"
    found = await v1.customers.payment_methods.list_async(customer)
    assert [(one.type, one.us_bank_account.last4) for one in found.data] == [
        ("us_bank_account", "6789")
    ]


async def test_an_account_that_was_closed_is_debited_no_more(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    closed = "pm_usBankAccount_accountClosed"
    account = await v1.payment_methods.attach_async(closed, {"customer": customer})
    terms = {"amount": 900, "currency": "usd", "customer": customer, "confirm": True}
    made = await v1.payment_intents.create_async({**terms, "payment_method": account.id})
    await control.settle(made.id)
    error = await declined(v1.payment_intents.create_async({**terms, "payment_method": account.id}))
    assert error.code == "bank_account_unusable"


async def test_an_account_is_kept_for_later_only_with_a_mandate(v1: Any, customer: str) -> None:
    account = await v1.payment_methods.attach_async("pm_sepaDebit_success", {"customer": customer})
    terms = {"amount": 900, "currency": "eur", "customer": customer}
    made = await v1.payment_intents.create_async({**terms, "setup_future_usage": "off_session"})
    given = {"payment_method": account.id}
    error = await refused(v1.payment_intents.confirm_async(made.id, given))
    assert (error.http_status, error.param) == (400, "mandate_data")
    once = await v1.payment_intents.confirm_async(made.id, {**given, "setup_future_usage": ""})
    assert once.status == "processing"


@pytest.mark.parametrize("inquiry", [True, False])
async def test_a_debit_may_be_disputed_and_says_nothing_of_a_card(
    v1: Any, control: SandboxControl, customer: str, inquiry: bool
) -> None:
    terms = {"amount": 900, "currency": "usd", "customer": customer, "confirm": True}
    terms["payment_method"] = "pm_usBankAccount_success"
    made = await v1.payment_intents.create_async(terms)
    await control.settle(made.id)
    opened = await control.dispute(made.id, inquiry=inquiry)
    assert opened.status == 200, opened
    assert "payment_method_details" not in opened.body
