"""Refuses card numbers in payers' texts: card data must never reach this service [U1, J7]."""

import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator

from api.answers.schemas import Text

_RUN: Final = re.compile(r"[0-9](?:(?:[^\w]|_)?[0-9]){12,}")
"""Digits with at most one other character between them."""
_LONGEST: Final = 19
_CARD: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11,16}"
    r"|(?:6011|65\d\d|64[4-9]\d|35\d\d|62\d\d)\d{12,15}"
)
"""Numbers that card schemes issue, by their first digits and their length."""


def _has_card_number(text: str) -> bool:
    """Return True if a group of digits, or adjacent groups, form a valid card number."""
    return any(_makes_card(re.split("[^0-9]", run)) for run in _RUN.findall(_plain(text)))


def _plain(text: str) -> str:
    """Return the text with digits of any script as 0 to 9, and with single spaces."""
    digits = (str(unicodedata.decimal(one, one)) for one in unicodedata.normalize("NFKC", text))
    return re.sub(r"\s+", " ", "".join(digits))


def _makes_card(groups: list[str]) -> bool:
    for start in range(len(groups)):
        number = ""
        for group in groups[start:]:
            number += group
            if len(number) > _LONGEST:
                break
            if _CARD.fullmatch(number) and _is_valid(number):
                return True
    return False


def _is_valid(number: str) -> bool:
    """Return True if the last digit passes Luhn's check."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _refuse(text: str) -> str:
    if _has_card_number(text):
        raise ValueError("must not contain a card number")
    return text


NoCardNumber: Final = AfterValidator(_refuse)
"""For free text written by payers."""
FreeText = Annotated[Text, NoCardNumber]
"""A short free text, such as a reason."""
