"""The reasons why no card can be charged for a use. Pure."""

from typing import Final, Literal

from billing.core.error_codes import CODES
from billing.core.errors import Conflict

Obstacle = Literal["no_card", "card_barred", "no_price", "currency", "too_small", "too_large"]

_WORDS: Final[dict[Obstacle, str]] = {
    "no_card": "the account has no default card",
    "card_barred": "its default card may not be tried",
    "no_price": "it has no price in money (that of a product, in the account's currency)",
    "currency": "the default card cannot be charged in the currency of its price",
    "too_small": "it costs less than a card can be charged, and no next invoice would carry it",
    "too_large": "it costs more than a card can be charged at once",
}


def not_offered(reason: Obstacle) -> Conflict:
    """Return the refusal of a use that no card can pay, with its reason."""
    code = "PAYMENT_CHARGE_NOT_OFFERED"
    return Conflict(code, f"{CODES[code].detail}: {_WORDS[reason]}", reason=reason)
