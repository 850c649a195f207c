"""The budget that a use would exceed. Pure; the database decides, this module explains."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from billing.catalog.products.schemas import LEVELS
from billing.catalog.rating.schemas import CREDIT
from billing.core.errors import wrong_field
from billing.core.money import ZERO
from billing.metering.budgets.schemas import Budget, Window

ALERT_PERCENTS: Final = (80, 100)
"""The percents of a limit at which its account is notified, unless it says others."""
MAX_BUDGETS: Final = 20
"""Per account: each use under a budget checks all of them."""


class Broken(NamedTuple):
    """The budget reported for a refused use, and the time when the same use passes all budgets."""

    budget: Budget
    passes_at: datetime | None
    """None: never, because one of them allows less than the use in total."""


def window_for(meter: str, counts: str, window: Window | None) -> Window:
    """Return the window of a budget, if its meter allows it. Errors: VALIDATION_FAILED."""
    if not may_have(counts, window):
        raise wrong_field("window", f"{meter} is a level: its budget must have the window cycle")
    return window or usual_window(counts)


def may_have(counts: str, window: str | None) -> bool:
    """Return whether a limit on such a meter may have this window; None: the usual one.

    A level's counters hold its rise within a cycle, so those of two cycles have no sum.
    """
    return counts not in LEVELS or window in (None, "cycle")


def usual_window(counts: str) -> Window:
    """Return the window of a limit that names none: the month, or for a level the cycle."""
    return "cycle" if counts in LEVELS else "month"


def broken(
    budgets: Sequence[Budget],
    meter: str,
    units: tuple[Decimal, Decimal],
    total: Decimal,
    currency: str,
) -> Broken | None:
    """Return the blocking budget that a use of this size would exceed: the one with least left.

    `units` are what it adds to its meter now, and in an unused window, where a level rises from 0.
    `total` is the use's cost: credits, or money that the next invoice charges.
    """
    rise, anew = units
    asked = {
        "meter": rise,
        "credits": total if currency == CREDIT else ZERO,
        "money": ZERO if currency == CREDIT else total,
    }
    hit = [
        budget
        for budget in budgets
        if budget.is_blocking
        and (budget.measure != "meter" or budget.meter == meter)
        and asked[budget.measure] > budget.remaining
    ]
    if not hit:
        return None
    asked["meter"] = anew
    ever = all(asked[budget.measure] <= budget.limit_amount for budget in hit)
    return Broken(
        min(hit, key=lambda budget: (budget.remaining, budget.id)),
        max(budget.window_end for budget in hit) if ever else None,
    )
