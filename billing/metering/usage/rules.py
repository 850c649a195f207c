"""Pure rules of usage: record ids, owners of counters, and the invoice line of a cycle.

Nothing here reads rows.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Final
from uuid import UUID

from billing.catalog.rating.rules import (
    EXACT,
    MONEY_STEP,
    charge,
    cost,
    lowest,
    rounded,
    unit_price,
)
from billing.catalog.rating.schemas import MOST_AMOUNT, PriceTerms, Rating
from billing.core import ids, periods
from billing.core.money import ZERO, exponent, round_minor
from billing.metering.usage.schemas import Counter, PeriodLimit

FIRST_MONTH: Final = date(1970, 1, 1)
"""The month of records from before records had months."""
MAX_ROWS: Final = 1_000
AMOUNT: Final = r"^[0-9]{1,15}(\.[0-9]{1,12})?(?![\s\S])"
"""A quantity: a decimal in a string, below 10^15, at most twelve decimals; 0 only for a level."""
HOUR: Final = timedelta(hours=1)
HALF_A_DAY: Final = timedelta(hours=12)
BESIDE: Final = timedelta(days=1)
"""A use may lie this far before its day, or beyond 24 hours of it: days vary in length."""
NOTHING: Final = "usage_amount: must be above 0; only a level, such as storage, may be 0"
STATUS_ACTIONS: Final = {
    "completed": "usage.settled", "pending": "usage.retried", "failed": "usage.failed",
}  # fmt: skip
"""The event [F20] to publish when an existing record gets this status."""


def too_large(meter: str, most: Decimal) -> str:
    """Return the error sentence for a use that is too large."""
    return f"one use of {meter} is at most {most.normalize():f} units"


def without_cost(operation: str) -> str:
    """Return the error sentence for a use of an operation that nothing prices."""
    return (
        f"the operation {operation!r} has no cost: an operator sets it by"
        " PUT /admin/credit-costs/{operation}"
    )


def record_id(account_id: UUID, event_id: str | None, at: datetime) -> UUID:
    """Return the record id of an event that arrives at this real time; a new id without an event.

    The same account and event yield the same id all month, so that the primary key prevents
    counting an event twice. Records of earlier months are looked up (usage_repeats).
    """
    return UUID(hex=record_key(account_id.hex, event_id, at))


def record_key(account: str, event_id: str | None, at: datetime) -> str:
    """As `record_id`, from and to hexadecimal digits: batches need thousands."""
    if event_id is None:
        return ids.new_hex()
    return ids.of_event(hashlib.sha256(f"{account}/{event_id}".encode()).hexdigest(), at)


def status_facts(record: UUID, method: str, status: str) -> dict[str, str]:
    """Return the data of the event about a record whose payment succeeded or failed later."""
    return {
        "billing_id": ids.encode(ids.BILLING_RECORD, record),
        "billing_method": method,
        "billing_status": status,
    }


def body_hash(kind: str, facts: tuple[object, ...]) -> int:
    """Hash a body, to distinguish a repeated event from another one with the same id.

    `kind` is the text of the fields that many bodies share, `facts` are the others.
    """
    digest = hashlib.sha256(f"{kind}{facts!r}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def beyond(limit: PeriodLimit, counter: Counter | None, units: Decimal, currency: str) -> Decimal:
    """Return the cost of `units` more on the next invoice, after the cycle's use so far."""
    return by_plan(limit, counter, units, currency).total


def by_plan(limit: PeriodLimit, counter: Counter | None, units: Decimal, currency: str) -> Rating:
    """Rate `units` more of a meter by the plan: its included units, then its overage price."""
    terms = limit.overage
    rest = max(ZERO, units - max(ZERO, limit.included - limit.used(counter)))
    before, paid = (counter.overage, counter.overage_total) if counter else (ZERO, ZERO)
    total = charge(terms, before, rest, currency, paid=paid) if terms and rest else ZERO
    return Rating(
        quantity=units,
        included=units - rest,
        charged=rest,
        total=total,
        unit_price=unit_price(terms, rest, total) if terms else ZERO,
        is_free_tier=False,
        is_included=rest == 0,
    )


def rise(amount: Decimal, counts: str, counter: Counter | None) -> Decimal:
    """Return what a use adds to its meter after the cycle's use so far; None: after no use."""
    if counts == "sum":
        return amount
    if counts == "count":
        return Decimal(1)
    return max(ZERO, amount - (counter.maximum if counter else ZERO))


def day_of(bucket: datetime, zone: str) -> date:
    """Return the zone's day of a counter of a day. One that was counted in another zone, before the
    account's changed, is the day that most of it falls on.
    """
    return periods.to_wall(bucket + HALF_A_DAY, zone).date()


def user(user_id: str) -> str:
    """Return the owner of a user's counters and quotas."""
    return f"u:{user_id}"


def organization(organization_id: str) -> str:
    """Return the owner of an organisation's counters and quotas."""
    return f"o:{organization_id}"


EACH_USER: Final = "u*"
"""The owner of users' default quota."""


@dataclass(frozen=True, slots=True)
class Accrued:
    """Units of one meter beyond the plan's allowance in one cycle, in `currency`.

    `total` is the sum of their records, each rounded to twelve decimals. `terms` are the price of
    all of them, None if they had several (usage_common_price.sql). The `billed_*` fields are the
    part that earlier lines billed.
    """

    units: Decimal
    total: Decimal
    records: int
    terms: PriceTerms | None
    currency: str
    billed_units: Decimal = ZERO
    billed_total: Decimal = ZERO
    billed_minor: int = 0


@dataclass(frozen=True, slots=True)
class UsageLine:
    """The next line of an invoice: units, unit price and amount in minor units.

    `covers` is the sum of its records; `true_up` is the difference to the line's amount. `terms`
    are the price of all units of the cycle, None if it had several.
    """

    units: Decimal
    unit_minor: Decimal
    amount_minor: int
    covers: Decimal
    true_up: Decimal
    terms: PriceTerms | None


def bill(accrued: Accrued, *, early: bool = False) -> UsageLine:
    """Return the line for accrued, unbilled units; the lines of a cycle are rounded together.

    An `early` line bills no more than the cycle's minimum cost, because a volume price may still
    fall. If it falls after the close, nothing is refunded.
    """
    digits = exponent(accrued.currency)
    with localcontext(EXACT):
        terms = _terms_of_all(accrued)
        units = accrued.units - accrued.billed_units
        covers = accrued.total - accrued.billed_total
        total = accrued.total
        if terms is not None:
            total = (lowest if early else cost)(terms, accrued.units)
        amount_minor = max(0, round_minor(total.scaleb(digits)) - accrued.billed_minor)
        return UsageLine(
            units=units,
            unit_minor=_unit_minor(accrued, units, covers, amount_minor),
            amount_minor=amount_minor,
            covers=covers,
            true_up=Decimal(amount_minor).scaleb(-digits) - covers,
            terms=terms,
        )


def _unit_minor(accrued: Accrued, units: Decimal, covers: Decimal, amount_minor: int) -> Decimal:
    """Return the unit price if all units of a line had the same, else their average."""
    terms, currency = accrued.terms, accrued.currency
    digits = exponent(currency)
    if terms is not None and terms.is_plain:
        differs = abs(cost(terms, units) - covers) > accrued.records * MONEY_STEP
        if not units or not differs:
            return rounded(terms.unit_price.scaleb(digits), currency)
    if not units:
        return ZERO
    is_plain = terms is None or terms.is_plain
    total = covers.scaleb(digits) if is_plain else Decimal(amount_minor)
    return min(rounded(total / units, currency), MOST_AMOUNT)


def _terms_of_all(accrued: Accrued) -> PriceTerms | None:
    """Return the terms if they say what all units cost; None: the sum of the records is owed.

    By a percentage each use has a price of its own. A cycle that 0.1.0 began does not know its
    earlier prices, all of them per unit: there the sum tells.
    """
    terms = accrued.terms
    if terms is None or terms.percentage is not None:
        return None
    differs = abs(cost(terms, accrued.units) - accrued.total) > accrued.records * MONEY_STEP
    return None if terms.is_plain and differs else terms
