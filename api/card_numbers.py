"""Texts of payers: a card number is refused, for card data never reaches this service [U1, J7]."""

import re
from itertools import combinations
from typing import Annotated, Final

from pydantic import AfterValidator

from api.schemas import Text

_RUN: Final = re.compile(r"\d(?:[ -]?\d){12,}")
_CARD: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11,16}"
    r"|(?:6011|65\d\d|64[4-9]\d|35\d\d|62\d\d)\d{12,15}"
)
"""The numbers that card schemes give out, by their first digits and their length."""


def _has_card_number(text: str) -> bool:
    """True if a group of digits, or groups next to each other, make a valid card number."""
    for run in _RUN.findall(text):
        groups = re.split("[ -]", run)
        for start, end in combinations(range(len(groups) + 1), 2):
            number = "".join(groups[start:end])
            if _CARD.fullmatch(number) and _is_valid(number):
                return True
    return False


def _is_valid(number: str) -> bool:
    """Luhn's check of the last digit."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _refuse(text: str) -> str:
    if _has_card_number(text):
        raise ValueError("must not have a card number in it")
    return text


NoCardNumber: Final = AfterValidator(_refuse)
"""For a text that payers write freely."""
FreeText = Annotated[Text, NoCardNumber]
"""A short one, such as a reason."""
