"""The card rules over all flows: which stored card is not tried, and how that is said. Pure.

Card schemes fine those who go on asking: a card that the bank has barred is never tried again, and
one that was declined too often rests, however often it is saved again (docs/rules.md#dunning).
"""

from datetime import timedelta
from typing import Final, Literal

from billing.core.errors import PaymentRequired
from billing.money.payment_methods.schemas import Method

MAX_ATTEMPTS_PER_CARD: Final = 15
ATTEMPT_WINDOW: Final = timedelta(days=30)
Untried = Literal["card_barred", "too_many_attempts"]
WORDS: Final[dict[Untried, str]] = {
    "card_barred": "the bank forbids further charges to this card: use another",
    "too_many_attempts": "the card was declined too often lately: use another",
}


def why_not(card: Method, declines: int) -> Untried | None:
    """The reason not to try this card, declined so often in the window; None: it may be tried."""
    if card.barred_at is not None:
        return "card_barred"
    return "too_many_attempts" if declines >= MAX_ATTEMPTS_PER_CARD else None


def refusal(reason: Untried) -> PaymentRequired:
    """The error for a card that is not tried: a decline that did not reach the provider."""
    return PaymentRequired(
        "CARD_DECLINED",
        WORDS[reason],
        decline_code=reason,
        decline_class="hard",
    )


def demand_not_barred(card: Method) -> Method:
    """The card, unless its bank forbids to charge it. Errors: CARD_DECLINED."""
    if card.barred_at is not None:
        raise refusal("card_barred")
    return card
