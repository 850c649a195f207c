"""Bank debits: the shape of a saved bank account, and of a charge of it.

A debit is `processing` for days at Stripe. Here it ends when the control plane settles it.
"""

from sandbox import problems
from sandbox.cards import TestCard
from sandbox.shapes import Json

CURRENCIES = {"us_bank_account": "usd", "sepa_debit": "eur"}
"""The one currency of each kind of debit."""


def check_currency(card: TestCard, currency: str) -> None:
    """Raise a 400 for a debit in a currency that its banks do not have."""
    if card.debit is not None and CURRENCIES[card.debit] != currency:
        raise problems.invalid(
            f"The currency provided ({currency}) is invalid for payments with {card.debit}.",
            "payment_method",
        )


def blocks(card: TestCard, code: str) -> bool:
    """True if Stripe no longer debits the account after this return."""
    return card.debit == "us_bank_account" and code in ("account_closed", "debit_not_authorized")


def demand_mandate(card: TestCard) -> None:
    """Raise a 400 for a debit to be saved for later without a mandate."""
    if card.debit is not None:
        raise problems.invalid(
            f"When confirming a PaymentIntent with a `{card.debit}` PaymentMethod and "
            "`setup_future_usage`, `mandate_data` is required.",
            "mandate_data",
            "parameter_missing",
        )


def saved(card: TestCard) -> Json:
    """Return the part of a payment method that describes the account."""
    if card.debit == "sepa_debit":
        return {
            "bank_code": "37040044", "branch_code": "", "country": card.country,
            "fingerprint": card.fingerprint, "generated_from": None, "last4": card.last4,
        }  # fmt: skip
    return {
        **_american(card),
        "financial_connections_account": None,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "status_details": None,
    }


def charged(card: TestCard) -> Json:
    """Return the part of a charge that describes the debited account."""
    if card.debit == "sepa_debit":
        part = saved(card)
        del part["generated_from"]
        return {**part, "expected_debit_date": None, "mandate": None}
    more = {"expected_debit_date": None, "mandate": None, "payment_reference": None}
    return {**_american(card), **more}


def _american(card: TestCard) -> Json:
    return {
        "account_holder_type": "company", "account_type": "checking", "bank_name": "TEST BANK",
        "fingerprint": card.fingerprint, "last4": card.last4, "routing_number": "110000000",
    }  # fmt: skip
