"""Pure rules of usage: the id that a use keeps, owners of counters, and the line of a closed cycle.

Nothing here reads rows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final
from uuid import UUID

from billing.catalog.rating.rules import EXACT, MONEY_STEP, rounded
from billing.core import ids
from billing.core.money import ZERO, exponent, round_minor

BILLING_ID: Final = ids.BILLING_RECORD
MAX_ROWS: Final = 1_000
AMOUNT: Final = r"^(?=[0-9.]*[1-9])[0-9]{1,15}(\.[0-9]{1,12})?(?![\s\S])"
"""A quantity: a decimal in a string, above 0, below 10^15, at most twelve decimals."""
STATUS_ACTIONS: Final = {
    "completed": "usage.settled", "pending": "usage.retried", "failed": "usage.failed",
}  # fmt: skip
"""The event [F20] to publish when an existing record gets this status."""


def too_large(meter: str, most: Decimal) -> str:
    """The sentence for a caller whose use is too large."""
    return f"one use of {meter} is at most {most.normalize():f} units"


def record_id(account_id: UUID, event_id: str | None) -> UUID:
    """The id of the record of an event: the same for the same account and event, else a new one.

    It is the wall against counting an event twice, in one index.
    """
    return UUID(hex=record_key(account_id.hex, event_id))


def record_key(account: str, event_id: str | None) -> str:
    """As `record_id`, for an account's hexadecimal digits and as such: batches make thousands."""
    if event_id is None:
        return ids.new_hex()
    return hashlib.sha256(f"{account}/{event_id}".encode()).hexdigest()[:32]


def status_facts(record: UUID, method: str, status: str) -> dict[str, str]:
    """Data of the event about a record that was paid, or failed to be, after it was recorded."""
    return {
        "billing_id": ids.encode(BILLING_ID, record),
        "billing_method": method,
        "billing_status": status,
    }


def body_hash(kind: str, facts: tuple[object, ...]) -> int:
    """One number for one body, to tell a repeated event from another with the same id.

    `kind` is the text of what many bodies share, `facts` are the rest.
    """
    digest = hashlib.sha256(f"{kind}{facts!r}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def allowance(limit: Mapping[str, str]) -> tuple[Decimal, Decimal]:
    """(What the plan includes of a meter, how much of it was used up before the period began)."""
    carried = Decimal(limit.get("carried", 0))
    return Decimal(limit["included"]) + carried, carried


def user(user_id: str) -> str:
    """The owner under which a user's counters and quotas are kept."""
    return f"u:{user_id}"


def organization(organization_id: str) -> str:
    """The owner under which an organisation's counters and quotas are kept."""
    return f"o:{organization_id}"


@dataclass(frozen=True, slots=True)
class Accrued:
    """Units of one meter beyond the plan's allowance in one closed cycle, in `currency`.

    `total` is what their records came to, each rounded to twelve decimals; what earlier lines
    billed of all this comes beside it.
    """

    units: Decimal
    total: Decimal
    records: int
    price: Decimal | None
    currency: str
    billed_units: Decimal = ZERO
    billed_total: Decimal = ZERO
    billed_minor: int = 0


@dataclass(frozen=True, slots=True)
class UsageLine:
    """The next line of an invoice: units, unit price in minor units, amount in cents.

    `covers` is what the records behind it came to; `true_up` brings them to the line's amount.
    """

    units: Decimal
    unit_minor: Decimal
    amount_minor: int
    covers: Decimal
    true_up: Decimal


def bill(accrued: Accrued) -> UsageLine:
    """The line for what was accrued and not billed yet: the lines of a cycle round together."""
    digits = exponent(accrued.currency)
    with localcontext(EXACT):
        units = accrued.units - accrued.billed_units
        amount_minor = round_minor(_rated(accrued).scaleb(digits)) - accrued.billed_minor
        covers = accrued.total - accrued.billed_total
        unit = accrued.price
        if unit is None:
            unit = covers / units if units else ZERO
        return UsageLine(
            units=units,
            unit_minor=rounded(unit.scaleb(digits), accrued.currency),
            amount_minor=amount_minor,
            covers=covers,
            true_up=Decimal(amount_minor).scaleb(-digits) - covers,
        )


def _rated(accrued: Accrued) -> Decimal:
    """Units by their price; where several were in force in the cycle, the sum of the records."""
    if accrued.price is None:
        return accrued.total
    exact = accrued.units * accrued.price
    within = abs(exact - accrued.total) <= accrued.records * MONEY_STEP
    return exact if within else accrued.total
