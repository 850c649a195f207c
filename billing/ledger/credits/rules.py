"""Pure rules of credits: amounts that may be booked, names of facts, and the hash of a request."""

import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from billing.core import ids
from billing.core.errors import Invalid
from billing.core.keys import MAX_KEY_CHARS
from billing.core.money import (
    CREDIT_DECIMALS,
    CREDIT_LIMIT,
    CREDIT_STEP,
    round_credits,
    show_decimal,
)

USABLE_AGAIN: Final = timedelta(days=30)
"""Minimum time for which returned credits can be used."""
LotKind = Literal["trial", "plan", "purchase", "adjustment", "refund", "dispute"]
MOST_EVER: Final = Decimal(9) * Decimal(10) ** 14
"""Operators give no credits beyond this sum of all that an account has and ever used: the rest up
to 10^15 is room for what is bought, granted by plans, and owed."""
MOST_OVERDRAFT: Final = Decimal(10) ** 13
DEFAULT_PRIORITY: Final = 100
"""Lots with a lower number burn first; an operator may give a lot one."""


def bookable(amount: Decimal) -> Decimal:
    """The amount a debit or hold books: rounded once to six decimals, above 0, below 10^15."""
    booked = round_credits(_within(amount))
    if not booked:
        raise Invalid(
            "INVALID_AMOUNT",
            f"the amount must be above 0 once it is rounded to steps of {CREDIT_STEP:f} credits",
        )
    return _within(booked)


def grantable(amount: Decimal) -> Decimal:
    """The amount a grant books, exact: above 0, below 10^15, at most twelve decimals."""
    if _within(amount) != round(amount, CREDIT_DECIMALS):
        raise Invalid("INVALID_AMOUNT", f"credits have at most {CREDIT_DECIMALS} decimals")
    return amount


def allowable(amount: Decimal) -> Decimal:
    """An overdraft: exact, from 0 to 10^13, at most twelve decimals."""
    if amount > MOST_OVERDRAFT:
        raise Invalid("INVALID_AMOUNT", "an overdraft can be at most 10^13 credits")
    return grantable(amount) if amount else amount


def caller_key(account_id: UUID, key: str) -> str:
    """Return a caller's key prefixed with its account, so that accounts cannot collide."""
    if not 0 < len(key) <= MAX_KEY_CHARS:
        raise Invalid("IDEMPOTENCY_KEY_INVALID", f"a key must have 1 to {MAX_KEY_CHARS} characters")
    return f"{ids.encode(ids.ACCOUNT, account_id)}/request/{key}"


def request_hash(**facts: Any) -> str:
    """Return a request's hash: equal facts give equal hashes, in any process and release."""
    return hashlib.sha256(_FACTS.encode(facts).encode()).hexdigest()


def _within(amount: Decimal) -> Decimal:
    if not (amount.is_finite() and 0 < amount < CREDIT_LIMIT):
        raise Invalid("INVALID_AMOUNT", "credits must be above 0 and below 10^15")
    return amount


def _plain(value: object) -> str:
    return show_decimal(value) if isinstance(value, Decimal) else str(value)


_FACTS: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)
