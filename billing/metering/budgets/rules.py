"""The budget that a use would break first. Pure; the database decides, this explains."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from billing.core.money import ZERO
from billing.metering.budgets.schemas import Budget

BUDGET_ID: Final = "bud"
ALERT_PERCENTS: Final = (80, 100)
MAX_BUDGETS: Final = 20
"""Of one account: each use under a budget looks at all of them."""
CREDIT: Final = "CREDIT"


class Broken(NamedTuple):
    """The budget that speaks for those that refuse a use, and when the same use passes all."""

    budget: Budget
    passes_at: datetime | None
    """None: never, for one of them allows less than the use asks for."""


def broken(
    budgets: Sequence[Budget], meter: str, quantity: Decimal, total: Decimal, currency: str
) -> Broken | None:
    """The blocking budget that a use of this size would break; of several the one with least left.

    `total` is the use's cost: credits, or money that the next invoice charges.
    """
    asked = {
        "meter": quantity,
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
    ever = all(asked[budget.measure] <= budget.limit_amount for budget in hit)
    return Broken(
        min(hit, key=lambda budget: (budget.remaining, budget.id)),
        max(budget.window_end for budget in hit) if ever else None,
    )
