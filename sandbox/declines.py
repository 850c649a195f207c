"""Decline codes of issuers, with the advice that comes with it.

One table: the word a test uses, and the error it becomes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decline:
    """One way to be declined."""

    code: str
    """The error code: card_declined for most."""
    decline_code: str | None
    message: str
    advice: str | None = None
    """confirm_card_data, do_not_try_again or try_again_later."""
    network_code: str | None = None
    """The two digits of the card network."""
    blocked: str | None = None
    """The reason why Stripe blocked the charge itself, which only the charge's outcome says."""


_DECLINED = "Your card was declined."
_UNSUPPORTED = "Your card does not support this type of purchase."
_AUTHENTICATE = "Your card was declined. This transaction requires authentication."


def _card(
    name: str, message: str = _DECLINED, advice: str | None = None, net: str = "05"
) -> Decline:
    return Decline("card_declined", name, message, advice, net)


AGAIN, NEVER, CHECK = "try_again_later", "do_not_try_again", "confirm_card_data"

REFUSED: dict[str, str] = {
    "payment_intent_mandate_invalid": "The mandate of this PaymentMethod is not valid any more.",
    "payment_method_unsupported_type": "The kind of this PaymentMethod is not offered any more.",
}
"""Errors (400) of a method that Stripe charges no more: their code, and their message."""
DECLINES: dict[str, Decline] = {
    "generic_decline": _card("generic_decline", advice=AGAIN),
    "highest_risk_level": Decline(
        "card_declined", "fraudulent", _DECLINED, NEVER, blocked="highest_risk_level"
    ),
    "previously_declined": Decline(
        "card_declined",
        "generic_decline",
        _DECLINED,
        AGAIN,
        blocked="previously_declined_do_not_retry",
    ),
    "insufficient_funds": _card(
        "insufficient_funds", "Your card has insufficient funds.", AGAIN, "51"
    ),
    "lost_card": _card("lost_card", advice=NEVER, net="41"),
    "stolen_card": _card("stolen_card", advice=NEVER, net="43"),
    "pickup_card": _card("pickup_card", advice=NEVER, net="04"),
    "restricted_card": _card("restricted_card", advice=NEVER, net="62"),
    "fraudulent": _card("fraudulent", advice=NEVER, net="59"),
    "card_velocity_exceeded": _card(
        "card_velocity_exceeded",
        "Your card was declined for making repeated attempts too frequently or exceeding its "
        "amount limit.",
        AGAIN,
        "61",
    ),
    "withdrawal_count_limit_exceeded": _card(
        "withdrawal_count_limit_exceeded", advice=AGAIN, net="65"
    ),
    "do_not_honor": _card("do_not_honor", advice=AGAIN),
    "call_issuer": _card("call_issuer", advice=AGAIN, net="01"),
    "no_action_taken": _card("no_action_taken", advice=AGAIN, net="21"),
    "try_again_later": _card("try_again_later", advice=AGAIN, net="19"),
    "issuer_not_available": _card("issuer_not_available", advice=AGAIN, net="91"),
    "reenter_transaction": _card("reenter_transaction", advice=AGAIN, net="19"),
    "approve_with_id": _card("approve_with_id", advice=AGAIN),
    "not_permitted": _card("not_permitted", advice=AGAIN, net="57"),
    "transaction_not_allowed": _card("transaction_not_allowed", advice=AGAIN, net="57"),
    "service_not_allowed": _card("service_not_allowed", advice=AGAIN, net="57"),
    "invalid_account": _card("invalid_account", advice=NEVER, net="14"),
    "new_account_information_available": _card(
        "new_account_information_available", advice=CHECK, net="14"
    ),
    "revocation_of_authorization": _card("revocation_of_authorization", advice=NEVER, net="R1"),
    "revocation_of_all_authorizations": _card(
        "revocation_of_all_authorizations", advice=NEVER, net="R3"
    ),
    "stop_payment_order": _card("stop_payment_order", advice=NEVER, net="R0"),
    "security_violation": _card("security_violation", advice=AGAIN, net="63"),
    "card_not_supported": _card("card_not_supported", _UNSUPPORTED, AGAIN, "57"),
    "currency_not_supported": _card(
        "currency_not_supported", "Your card does not support this currency.", NEVER, "57"
    ),
    "live_mode_test_card": _card("live_mode_test_card", advice=NEVER),
    "testmode_decline": _card("testmode_decline", advice=NEVER),
    "expired_card": Decline("expired_card", None, "Your card has expired.", CHECK, "54"),
    "incorrect_cvc": Decline(
        "incorrect_cvc", None, "Your card's security code is incorrect.", CHECK, "N7"
    ),
    "incorrect_number": Decline(
        "incorrect_number", None, "Your card number is incorrect.", CHECK, "14"
    ),
    "processing_error": Decline(
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
        AGAIN,
        "96",
    ),
    "account_closed": Decline("account_closed", None, "The bank account has been closed."),
    "debit_not_authorized": Decline(
        "debit_not_authorized", None, "The customer has told the bank that this is not authorized."
    ),
    "bank_account_unusable": Decline(
        "bank_account_unusable", None, "The bank account is blocked because of an earlier return."
    ),
    "authentication_required": Decline(
        "authentication_required", "authentication_required", _AUTHENTICATE, None, "1A"
    ),
}
