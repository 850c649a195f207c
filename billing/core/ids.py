"""Identifiers: UUIDv7 inside, TypeID outside: a prefix and 26 characters of base32.

The alphabet keeps the order of the numbers, so text ids sort by time of birth like the rows.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

import uuid_utils

from billing.core.errors import NotFound

ACCOUNT: Final = "acc"
ADDRESS: Final = "adr"
ADJUSTMENT: Final = "adj"
ATTEMPT: Final = "att"
BILLING_RECORD: Final = "bill"
CHANGE: Final = "chg"
CREDIT_NOTE: Final = "crn"
DISPUTE: Final = "dsp"
DUNNING_CASE: Final = "dun"
EVENT: Final = "evt"
HOLD: Final = "hld"
INVOICE: Final = "inv"
ISSUER: Final = "iss"
LOT: Final = "lot"
PAYMENT: Final = "pay"
PAYMENT_METHOD: Final = "mth"
PORTAL_SESSION: Final = "por"
PURCHASE: Final = "pur"
REFUND: Final = "ref"
SETUP_INTENT: Final = "set"
SUBSCRIPTION: Final = "sub"
TOP_UP: Final = "top"
TRANSACTION: Final = "ctx"
TRIAL: Final = "trl"

_NOUNS: Final = {
    ACCOUNT: "account", CREDIT_NOTE: "credit note", DISPUTE: "dispute",
    DUNNING_CASE: "dunning case", HOLD: "hold", INVOICE: "invoice",
    PAYMENT: "payment", PAYMENT_METHOD: "payment method", PURCHASE: "purchase",
    REFUND: "refund", SETUP_INTENT: "setup intent", SUBSCRIPTION: "subscription", TOP_UP: "top-up",
    TRANSACTION: "credit transaction",
}  # fmt: skip
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 26
# Two characters at once, from the first ones on.
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS: Final = tuple(range(5 * (_LENGTH - 2), -1, -10))
_TAIL: Final = re.compile(f"[{_ALPHABET}]{{{_LENGTH}}}")
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


def new() -> UUID:
    """A fresh UUIDv7."""
    return UUID(int=uuid_utils.uuid7().int)


def new_hex() -> str:
    """A fresh UUIDv7 as hexadecimal digits."""
    return uuid_utils.uuid7().hex


def born_at(value: UUID) -> datetime:
    """The millisecond in which a UUIDv7 was made."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def first_of(instant: datetime) -> UUID:
    """The least UUIDv7 of the millisecond: what was made since then is not below it."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


def of_event(digest: str, at: datetime) -> str:
    """An id made of an event's digest, as hexadecimal digits: a UUIDv7 of the first minutes of the
    month of `at`. The same event has the same one all month, and months are in order.
    """
    utc = at.astimezone(UTC)
    digits = _month_digits(utc.year, utc.month)
    return f"{digits}{digest[:4]}7{digest[4:7]}8{digest[7:22]}"


@lru_cache
def _month_digits(year: int, month: int) -> str:
    """32 bits of the time in a UUIDv7 of the month's first minutes; 16 more bits of it follow."""
    began = int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
    return f"{(began >> 16) + 1:08x}"


def encode(prefix: str, value: UUID) -> str:
    """`inv_01k…`: the form that leaves the database."""
    number = value.int
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def decode(prefix: str, text: str) -> UUID:
    """The UUID behind `text`; anything else than a well-formed id of this type is `NotFound`."""
    value = parse(prefix, text)
    if value is None:
        raise NotFound(
            "NOT_FOUND",
            f"no such {_NOUNS.get(prefix, 'thing')}: ids have the form {prefix}_ and {_LENGTH}"
            " characters",
        )
    return value


def parse(prefix: str, text: str) -> UUID | None:
    """The UUID behind `text`, or None when it is not an id of this type."""
    head, _, tail = text.partition("_")
    if head != prefix or _TAIL.fullmatch(tail) is None:
        return None
    number = int(tail.translate(_DIGITS), 32)
    return UUID(int=number) if number < 1 << 128 else None
