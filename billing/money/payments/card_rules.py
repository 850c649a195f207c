"""Card rules of all flows: which stored card may not be tried, and its error. Pure.

Card schemes fine excessive retries: a card that its bank has barred is never tried again, and one
that was declined too often must wait, even if it is saved again (docs/rules/dunning.md).
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Literal

from billing.core.currencies import collectable, is_too_large
from billing.core.errors import Conflict, PaymentRequired
from billing.money.payment_methods.rules import is_debit, takes
from billing.money.payment_methods.schemas import Method
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Decline
from billing.money.payments.schemas import Attempt

MAX_ATTEMPTS_PER_CARD: Final = 15
ATTEMPT_WINDOW: Final = timedelta(days=30)
OF_THE_SUM: Final = frozenset({"amount_too_large", "amount_not_charged"})
"""Reasons that apply to every card; a bank transfer may still pay."""
Untried = Literal["card_barred", "too_many_attempts", "debits_returned"]
WORDS: Final[dict[str, str]] = {
    "card_barred": "its bank, or a dispute for fraud, forbids charges to this card: use another",
    "too_many_attempts": "the card was declined too often lately: use another",
    "debits_returned": "too many debits of this invoice failed: pay it by card",
}

BARRED: Final = Decline(code="card_barred", message=WORDS["card_barred"])
"""The decline of a card that was barred after its try was put on record."""


def why_not(card: Method, declines: int) -> Untried | None:
    """Return why this card, with its declines in the window, may not be tried; None: it may."""
    if card.barred_at is not None:
        return "card_barred"
    return "too_many_attempts" if declines >= MAX_ATTEMPTS_PER_CARD else None


def are_used_up(methods: Iterable[Method], tries: Iterable[Attempt], slots: int) -> bool:
    """True if an invoice has had as many failed debits as slots, whoever started them."""
    debits = {one.id for one in methods if is_debit(one)}
    failed = (one for one in tries if one.status == "declined")
    return sum(one.payment_method_id in debits for one in failed) >= slots


def unfit(card: Method, owed: Owed, methods: Iterable[Method], slots: int) -> str | None:
    """Return why this card may not be charged for the invoice; None: it may."""
    reason = why_not_sum(owed.invoice.remaining_minor, owed.invoice.currency)
    if reason is not None:
        return reason
    if is_debit(card) and are_used_up(methods, owed.attempts, slots):
        return "debits_returned"
    return None


def why_not_sum(minor: int, currency: str) -> str | None:
    """Return why no card can be charged this amount; None: one can."""
    if is_too_large(minor, currency):
        return "amount_too_large"
    return "amount_not_charged" if collectable(minor, currency) != minor else None


def refusal(reason: Untried) -> PaymentRequired:
    """Return the error for a card that is not tried: a decline without a provider call."""
    return PaymentRequired(
        "CARD_DECLINED",
        WORDS[reason],
        decline_code=reason,
        decline_class="hard",
    )


def not_charged(currency: str) -> Conflict:
    """The error for a bank account that cannot be charged in this currency."""
    return Conflict("CURRENCY_NOT_CHARGED", f"this bank account cannot be charged in {currency}")


def demand_fits(card: Method, currency: str) -> Method:
    """Return the card, unless its bank or a dispute for fraud has barred it, or it is a bank
    account in another currency.

    Errors: CARD_DECLINED; CURRENCY_NOT_CHARGED.
    """
    if not takes(card, currency):
        raise not_charged(currency)
    if card.barred_at is not None:
        raise refusal("card_barred")
    return card
