"""Pure rules of usage: the id that a use keeps, the hash of its body, and owners of counters."""

import hashlib
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from billing.core import ids

BILLING_ID: Final = "bill"
MAX_ROWS: Final = 1_000
OLDEST: Final = timedelta(days=35)
AHEAD: Final = timedelta(minutes=5)
AMOUNT: Final = r"^(?=[0-9.]*[1-9])[0-9]{1,15}(\.[0-9]{1,12})?$"
"""A quantity: a decimal in a string, above 0, below 10^15, at most twelve decimals."""

Grain = Literal["hour", "day", "cycle"]


def record_id(account_id: UUID, event_id: str | None) -> UUID:
    """The id of the record of an event: the same for the same account and event, else a new one.

    It is the wall against counting an event twice, in one index.
    """
    return UUID(hex=record_key(account_id.hex, event_id))


def record_key(account: str, event_id: str | None) -> str:
    """As `record_id`, for an account's hexadecimal digits and as such: batches make thousands."""
    if event_id is None:
        return ids.new().hex
    return hashlib.sha256(f"{account}/{event_id}".encode()).hexdigest()[:32]


def body_hash(kind: str, facts: tuple[object, ...]) -> int:
    """One number for one body, to tell a repeated event from another with the same id.

    `kind` is the text of what many bodies share, `facts` are the rest.
    """
    digest = hashlib.sha256(f"{kind}{facts!r}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def user(user_id: str) -> str:
    """The owner under which a user's counters and quotas are kept."""
    return f"u:{user_id}"


def organization(organization_id: str) -> str:
    """The owner under which an organisation's counters and quotas are kept."""
    return f"o:{organization_id}"
