"""The deciding limit among several, and the end of a window. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.catalog.products.schemas import LEVELS
from billing.core.error_codes import CODES
from billing.core.errors import Invalid
from billing.core.money import ZERO
from billing.core.periods import from_wall, to_wall
from billing.metering.budgets.rules import may_have, usual_window
from billing.metering.quotas.schemas import Bound, Decision, Release, Window

CLAIM_LIFETIME: Final = timedelta(minutes=10)
"""A claim without a record by then is released."""
REFUSED: Final = CODES["QUOTA_EXCEEDED"].detail
WITHHELD: Final = (
    f"{REFUSED}: the plan sells more, but not while an invoice is overdue; pay what is overdue"
)
OVER_BUDGET: Final = CODES["BUDGET_EXCEEDED"].detail


def decide(
    meter: str, requested: Decimal, bounds: Sequence[Bound], used: Decimal = ZERO
) -> Decision:
    """Return the tightest limit's decision: hard limits first, then soft ones [H3]."""
    if not bounds:
        return Decision.unlimited(meter, requested, used)
    tightest = min(bounds, key=lambda bound: (not bound.is_hard, bound.remaining))
    allowed = all(bound.remaining >= requested for bound in bounds if bound.is_hard)
    refused = None if allowed else tightest.source
    is_withheld = not allowed and tightest.is_withheld
    soft = any(
        (bound.used + requested) * 100 >= bound.limit * bound.soft_percent for bound in bounds
    )
    return Decision(
        allowed=allowed,
        meter=meter,
        limit=tightest.limit,
        used=tightest.used,
        remaining=tightest.remaining,
        requested=requested,
        soft_limit_reached=soft,
        resets_at=tightest.resets_at,
        reason=None if allowed else WITHHELD if is_withheld else REFUSED,
        refused_by=refused,
        access="no_new_overage" if is_withheld else None,
    )


def freed_at(bound: Bound, requested: Decimal, releases: Sequence[Release]) -> datetime | None:
    """Return when its window has room for a use of this size, if nothing more is used: at the
    latest when it ends, though it may be larger than the limit.
    """
    room = bound.limit - bound.used
    for at, amount in releases:
        room += amount
        if room >= requested:
            return at
    return bound.resets_at


def next_second(at: datetime) -> datetime:
    """Return the first whole second from an instant on: callers are told no less."""
    return (at + timedelta(microseconds=999_999)).replace(microsecond=0)


def over_budget(decision: Decision, budget: Bound, passes_at: datetime | None) -> Decision:
    """Return the decision for a use that budgets block until `passes_at` (None: permanently).

    Its figures are this budget's, unless another limit refuses the use.
    """
    if not decision.allowed:
        never = decision.passes_at is None or passes_at is None
        last = None if never else max(filter(None, (decision.passes_at, passes_at)))
        return decision.model_copy(update={"passes_at": last})
    return decision.model_copy(
        update={
            "allowed": False,
            "limit": budget.limit,
            "used": budget.used,
            "remaining": budget.remaining,
            "resets_at": budget.resets_at,
            "passes_at": passes_at,
            "reason": OVER_BUDGET,
            "refused_by": "budget",
            "budget_id": budget.budget_id,
        }
    )


def window_for(meter: str, counts: str, owner: str, window: Window | None) -> Window:
    """Return the window of a quota, if its meter allows that window and owner.

    Errors: INVALID_QUOTA.
    """
    if (owner and counts in LEVELS) or not may_have(counts, window):
        raise Invalid(
            "INVALID_QUOTA",
            f"{meter} is a level: its quota must be for the whole account, with the window cycle",
        )
    return window or usual_window(counts)


def window_end(
    window: Window,
    start: datetime,
    span_seconds: int | None,
    zone: str,
    period_end: datetime,
    at: datetime,
) -> datetime:
    """Return the instant from which nothing used until `at` counts any more."""
    if window == "cycle":
        return period_end
    if window == "rolling":
        return at + timedelta(seconds=span_seconds or 0) * 61 / 60
    # On a day whose midnight is skipped it begins later.
    wall = to_wall(start, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return from_wall(wall + timedelta(days=1), zone)
    year, month = divmod(wall.year * 12 + wall.month, 12)
    return from_wall(wall.replace(year=year, month=month + 1), zone)
