"""Pure rules of the catalog: intervals as words, access by state, built-in costs, labels."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast, get_args

from billing.catalog.plans.schemas import Access, Entitlements, Plan, Seats, Withheld
from billing.core.money import MINOR_LIMIT, show_decimal, show_money
from billing.core.periods import Interval, Unit

DEFAULT_CURRENCY: Final = "USD"
"""The currency of an account that has not paid in any yet; currency_by_default() is the same."""

# Used where `credit_costs` has no active row for an operation [F5].
BUILT_IN_COSTS: Final[Mapping[str, Decimal]] = {
    "ai_response": Decimal(1),
    "chat_message": Decimal("0.5"),
    "document_upload": Decimal(2),
    "assessment": Decimal(5),
    "content_writing": Decimal(10),
    "image_generation": Decimal(5),
}

OPEN_STATUSES: Final = ("incomplete", "trialing", "active", "past_due", "unpaid", "paused")
"""A subscription that has not ended: each account has one at most."""
SERVED_AND_BILLED: Final = ("active", "past_due")
"""A period for money is served: its use is invoiced, and it may end with a pause."""
SERVED: Final = ("trialing", *SERVED_AND_BILLED)
"""A trial, or a period for money, is served."""
RUNNING: Final = (*SERVED_AND_BILLED, "unpaid")
"""Periods for money follow one another; while it is `unpaid` nothing is served, and their invoices
stay drafts.
"""

NO_PLAN: Final = Entitlements(
    plan=None,
    plan_name=None,
    subscription_status=None,
    access="none",
    reason="no_subscription",
    features={},
    limits=(),
)

_UNITS: Final = ("kb", "mb", "gb", "tb")
_INTERVAL = re.compile(rf"(?:(\d{{1,3}}) )?({'|'.join(get_args(Unit))})s?", re.ASCII)


def parse_interval(words: str) -> Interval:
    """Parse an interval such as `month`, `3 months` or `2 weeks`. Raises ValueError."""
    match = _INTERVAL.fullmatch(words)
    if match is None:
        raise ValueError(f"{words!r} is not an interval such as `month` or `2 weeks`")
    return Interval(unit=match[2], count=int(match[1] or 1))  # type: ignore[arg-type]


def show_interval(interval: Interval) -> str:
    """Format an interval: `month`, or `3 months`."""
    return interval.unit if interval.count == 1 else f"{interval.count} {interval.unit}s"


def is_too_dear(unit_minor: int, quantity: int) -> bool:
    """True if so many of a unit price would cost more than any sum of money here."""
    return unit_minor * quantity >= MINOR_LIMIT


def most_seats(seats: Seats | None) -> int:
    """Return how often one subscription may have a plan."""
    return seats.most if seats is not None else 1


def limit_name(meter: str) -> str:
    """Return a limit's name in `limits_by_name` [B6]: `ai_responses_limit`, or with its unit last,
    `storage_limit_gb`."""
    stem, _, unit = meter.rpartition("_")
    return f"{stem}_limit_{unit}" if unit in _UNITS else f"{meter}_limit"


def access(plan: Plan, status: str | None) -> Access:
    """Return the access in this subscription status, or without one (docs/rules/catalog.md)."""
    if status in (None, "trialing", "active"):
        return "full"
    return plan.past_due_access if status == "past_due" else "none"


def entitle(
    plan: Plan,
    status: str | None,
    currency: str | None = None,
    extra: Mapping[str, Decimal] | None = None,
) -> Entitlements:
    """Return the entitlements of a subscription in this status; empty without access.

    Without a subscription (None) they are the default plan's. Overage is blocked where no invoice
    would bill it: without full access, or without a price in the subscription's currency, as in
    usage_limits_of.sql. `extra`: the units of its add-ons, by meter.
    """
    reach = access(plan, status)
    more = extra or {}
    limits = tuple(
        limit.model_copy(
            update={"included": limit.included + more.get(limit.meter, 0)}
            | (
                {"then": "block", "prices": {}}
                if limit.then == "overage" and (reach != "full" or currency not in limit.prices)
                else {}
            )
        )
        for limit in plan.limits
    )
    return Entitlements(
        plan=plan.key,
        plan_name=plan.name,
        subscription_status=status,
        access=reach,
        reason=_withheld(status) if reach != "full" else None,
        features={} if reach == "none" else plan.features,
        limits=() if reach == "none" else limits,
    )


def _withheld(status: str | None) -> Withheld:
    """Return why a status gives no access; an ended subscription counts as none."""
    return cast("Withheld", status) if status in get_args(Withheld) else "no_subscription"


def pack_label(credits: Decimal, amount_minor: int, currency: str) -> str:
    """Format a pack for people: `500 credits for 39.99 USD`."""
    count = show_decimal(credits).removesuffix(".00")
    return f"{count} credits for {show_money(amount_minor, currency)}"
