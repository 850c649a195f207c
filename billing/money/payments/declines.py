"""The table of decline classes: the provider's code decides about the next attempt.

Codes are Stripe's `decline_code`; its error `code` when the bank gave none; the reason in the
outcome of a charge that Stripe blocked itself; and its code for a bank account or mandate that it
refuses before contacting any bank. `card_barred`, `card_gone` and `customer_gone` are ours
(docs/rules/dunning.md).
"""

from typing import Final, Literal

DeclineClass = Literal["hard", "soft", "action", "config"]

_HARD: Final = frozenset(
    {
        "account_closed", "account_number_invalid", "bank_account_bad_routing_numbers",
        "bank_account_closed", "bank_account_declined", "bank_account_frozen",
        "bank_account_invalid_details", "bank_account_restricted", "bank_account_unusable",
        "bank_account_unverified", "bank_account_verification_failed", "bank_ownership_changed",
        "billing_invalid_mandate", "card_barred", "card_gone", "card_not_supported",
        "currency_not_supported",
        "customer_gone", "debit_not_authorized", "do_not_try_again", "expired_card",
        "expired_payment_method", "fraudulent", "highest_risk_level", "incorrect_number",
        "india_recurring_payment_mandate_canceled", "invalid_account", "invalid_expiry_month",
        "invalid_expiry_year", "invalid_number", "lost_card", "merchant_blacklist",
        "new_account_information_available", "no_account", "no_action_taken", "not_permitted",
        "payment_intent_incompatible_payment_method", "payment_intent_mandate_invalid",
        "payment_method_bank_account_blocked", "payment_method_currency_mismatch",
        "payment_method_customer_decline", "payment_method_restricted",
        "payment_method_unsupported_type", "pickup_card",
        "pin_try_exceeded", "previously_declined_do_not_retry", "restricted_card",
        "revocation_of_all_authorizations", "revocation_of_authorization", "routing_number_invalid",
        "security_violation", "service_not_allowed", "setup_intent_mandate_invalid", "stolen_card",
        "stop_payment_order", "tokenized_account_number_deactivated", "transaction_not_allowed",
    }
)  # fmt: skip
_ACTION: Final = frozenset(
    {
        "authentication_not_handled", "authentication_required",
        "mobile_device_authentication_required",
        "offline_pin_required", "online_or_offline_pin_required",
    }
)  # fmt: skip
_CONFIG: Final = frozenset({"testmode_decline", "test_mode_live_card", "live_mode_test_card"})
# Everything else (insufficient_funds, generic_decline, do_not_honor, processing_error,
# card_velocity_exceeded, incorrect_cvc, try_again_later, unknown new codes) may work another day.

BARRING: Final = frozenset({"do_not_try_again", "previously_declined_do_not_retry"})
"""Codes, given as advice or as reason, after which a card is never tried again."""


def classify(decline_code: str | None, code: str | None) -> DeclineClass:
    """The class of a decline; an unknown code counts as soft."""
    for value in (decline_code, code):
        if value in _HARD:
            return "hard"
        if value in _ACTION:
            return "action"
        if value in _CONFIG:
            return "config"
    return "soft"
