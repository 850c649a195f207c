"""Identifiers: UUIDv7 inside, TypeID outside: a prefix and 26 characters of base32.

The alphabet keeps the order of the numbers, so text ids sort by creation time, as rows do.
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
BUDGET: Final = "bud"
CHANGE: Final = "chg"
CONTRACT: Final = "con"
CREDIT_NOTE: Final = "crn"
DISPUTE: Final = "dsp"
DUNNING_CASE: Final = "dun"
EVENT: Final = "evt"
HOLD: Final = "hld"
INVOICE: Final = "inv"
ISSUER: Final = "iss"
LIMIT: Final = "lim"
LOT: Final = "lot"
MIGRATION_REQUEST: Final = "mig"
PACK: Final = "pck"
PAYMENT: Final = "pay"
PAYMENT_METHOD: Final = "mth"
PLAN: Final = "pln"
PORTAL_SESSION: Final = "por"
PURCHASE: Final = "pur"
QUOTA: Final = "qta"
RECONCILIATION: Final = "rec"
REFUND: Final = "ref"
SETUP_INTENT: Final = "set"
SUBSCRIPTION: Final = "sub"
TOP_UP: Final = "top"
TRANSACTION: Final = "ctx"
TRIAL: Final = "trl"
USAGE_RECORD: Final = "usg"

# Parts of keys: the request that writes something. They are not shown as ids.
NOTE: Final = "note"
REQUEST: Final = "key"

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 26
# Two characters at a time, from the first on.
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS: Final = tuple(range(5 * (_LENGTH - 2), -1, -10))
_TAIL: Final = re.compile(f"[{_ALPHABET}]{{{_LENGTH}}}")
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


def new() -> UUID:
    """Return a fresh UUIDv7."""
    return UUID(int=uuid_utils.uuid7().int)


def new_hex() -> str:
    """Return a fresh UUIDv7 as hexadecimal digits."""
    return uuid_utils.uuid7().hex


def born_at(value: UUID) -> datetime:
    """Return the millisecond in which a UUIDv7 was made."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def first_of(instant: datetime) -> UUID:
    """Return the lowest UUIDv7 of the millisecond: no later id is below it."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


def of_event(digest: str, at: datetime) -> str:
    """Derive an id from an event's digest, as hexadecimal digits: a UUIDv7 of the first minutes of
    the month of `at`. An event has the same id all month, and ids of months are in order.
    """
    utc = at.astimezone(UTC)
    digits = _month_digits(utc.year, utc.month)
    return f"{digits}{digest[:4]}7{digest[4:7]}8{digest[7:22]}"


@lru_cache
def _month_digits(year: int, month: int) -> str:
    """Return the first 32 of the 48 time bits of a UUIDv7 of the month's first minutes."""
    began = int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
    return f"{(began >> 16) + 1:08x}"


def encode(prefix: str, value: UUID) -> str:
    """Return the public form, such as `inv_01k…`."""
    number = value.int
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def decode(prefix: str, text: str) -> UUID:
    """Return the UUID of a public id. Raises NotFound unless it is a valid id of this type."""
    value = parse(prefix, text)
    if value is None:
        raise NotFound("NOT_FOUND")
    return value


def parse(prefix: str, text: str) -> UUID | None:
    """Return the UUID of a public id, or None if it is not an id of this type."""
    head, _, tail = text.partition("_")
    if head != prefix or _TAIL.fullmatch(tail) is None:
        return None
    number = int(tail.translate(_DIGITS), 32)
    return UUID(int=number) if number < 1 << 128 else None
