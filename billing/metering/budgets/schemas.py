"""Budgets: the limit, the use of the current window, and the consequence of reaching the limit.

Amounts are exact decimals: a meter's units, credits, or whole units of the account's currency.
"""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.core.money import ZERO

Measure = Literal["meter", "credits", "money"]
Window = Literal["month", "cycle"]
Then = Literal["notify", "block"]


class NewBudget(Frozen):
    """A budget to set; `meter` is '' unless it measures a meter."""

    measure: Measure
    meter: str = ""
    window: Window
    limit: Decimal
    alert_percents: tuple[int, ...]
    then: Then


class Budget(Frozen):
    """A budget with the use of its current window."""

    id: UUID
    account_id: UUID
    measure: Measure
    meter: str
    window_kind: Window
    limit_amount: Decimal
    alert_percents: tuple[int, ...]
    is_blocking: bool
    window_start: AwareDatetime
    window_end: AwareDatetime
    used: Decimal
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def remaining(self) -> Decimal:
        """The unused rest of the window, never negative."""
        return max(ZERO, self.limit_amount - self.used)
