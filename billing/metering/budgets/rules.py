"""The budget that a use would break first. Pure; the database decides, this explains."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO
from billing.metering.budgets.schemas import Budget

BUDGET_ID: Final = "bud"
ALERT_PERCENTS: Final = (80, 100)
MAX_BUDGETS: Final = 20
"""Of one account: each use under a budget looks at all of them."""
CREDIT: Final = "CREDIT"


def broken(
    budgets: Sequence[Budget], meter: str, quantity: Decimal, total: Decimal, currency: str
) -> Budget | None:
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
    return min(hit, key=lambda budget: (budget.remaining, budget.id), default=None)
