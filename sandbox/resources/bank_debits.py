"""Bank accounts that are debited: what a saved one looks like, and a charge of it.

A debit is `processing` for days at Stripe. Here it ends when the control plane settles it.
"""

from sandbox import problems
from sandbox.cards import TestCard
from sandbox.shapes import Json

CURRENCIES = {"us_bank_account": "usd", "sepa_debit": "eur"}
"""The one currency of each kind of debit."""


def check_currency(card: TestCard, currency: str) -> None:
    """400 for a debit in another currency than its banks have."""
    if card.debit is not None and CURRENCIES[card.debit] != currency:
        raise problems.invalid(
            f"The currency provided ({currency}) is invalid for payments with {card.debit}.",
            "payment_method",
        )


def blocks(card: TestCard, code: str) -> bool:
    """True if Stripe debits the account no more after such a return."""
    return card.debit == "us_bank_account" and code in ("account_closed", "debit_not_authorized")


def demand_mandate(card: TestCard) -> None:
    """400 for a debit that is to be kept for later, without a mandate for that."""
    if card.debit is not None:
        raise problems.invalid(
            f"When confirming a PaymentIntent with a `{card.debit}` PaymentMethod and "
            "`setup_future_usage`, `mandate_data` is required.",
            "mandate_data",
            "parameter_missing",
        )


def saved(card: TestCard) -> Json:
    """The part of a payment method that says which account it is."""
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
    """The part of a charge that says which account it was taken from."""
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
