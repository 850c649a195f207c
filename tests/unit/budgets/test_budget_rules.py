"""The budget that is named when a use is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.products.schemas import LEVELS
from billing.core.errors import Invalid
from billing.metering.budgets import rules
from billing.metering.budgets.rules import broken
from billing.metering.budgets.schemas import Budget, Window
from billing.metering.quotas import rules as quota_rules

AT = datetime(2027, 1, 1, tzinfo=UTC)
ID = UUID("01890000-0000-7000-8000-000000000000")
ONE = (Decimal(1), Decimal(1))
amounts = st.decimals(min_value=0, max_value=1000, places=2)


def budget(**fields: Any) -> Budget:
    known = {
        "id": ID, "account_id": ID, "measure": "credits", "meter": "", "window_kind": "month",
        "limit_amount": Decimal(10), "alert_percents": (80,), "is_blocking": True,
        "window_start": AT, "window_end": AT, "used": Decimal(8), "created_at": AT,
        "updated_at": AT,
    }  # fmt: skip
    return Budget.model_validate(known | fields)


@pytest.mark.parametrize("counts", ["sum", "count", "max", "last"])
@pytest.mark.parametrize("window", [None, "month", "cycle"])
def test_a_budget_and_a_quota_of_one_meter_may_have_the_same_windows(
    counts: str, window: Window | None
) -> None:
    if counts in LEVELS and window == "month":
        with pytest.raises(Invalid, match="must have the window cycle"):
            rules.window_for("calls", counts, window)
        with pytest.raises(Invalid, match="with the window cycle"):
            quota_rules.window_for("calls", counts, "", window)
        return
    usual: Window = "cycle" if counts in LEVELS else "month"
    assert rules.window_for("calls", counts, window) == (window or usual)
    assert quota_rules.window_for("calls", counts, "", window) == (window or usual)


def test_only_a_budget_that_blocks_and_measures_this_use_is_broken() -> None:
    use = (ONE, Decimal(3), "CREDIT")
    assert broken([budget()], "calls", *use) is not None
    assert broken([budget(is_blocking=False)], "calls", *use) is None
    assert broken([budget(measure="money")], "calls", *use) is None
    assert broken([budget(measure="money")], "calls", ONE, Decimal(3), "USD") is not None
    units = budget(measure="meter", meter="calls", used=Decimal(10))
    assert broken([units], "calls", *use) == (units, AT)
    assert broken([units], "storage", *use) is None


@given(left=st.lists(amounts, max_size=5), cost=amounts)
def test_the_tightest_of_the_broken_ones_speaks(left: list[Decimal], cost: Decimal) -> None:
    known = [budget(limit_amount=rest, used=Decimal(0)) for rest in left]
    found = broken(known, "calls", ONE, cost, "CREDIT")
    short = [rest for rest in left if rest < cost]
    assert (found.budget.remaining if found else None) == min(short, default=None)


def test_a_use_passes_when_the_last_of_the_broken_ones_begins_anew() -> None:
    soon = budget(limit_amount=Decimal(20), used=Decimal(20))
    later = budget(limit_amount=Decimal(20), used=Decimal(15), window_end=AT + timedelta(days=18))
    found = broken([soon, later], "calls", ONE, Decimal(10), "CREDIT")
    assert found == (soon, AT + timedelta(days=18))
    never = broken([soon, later], "calls", ONE, Decimal(21), "CREDIT")
    assert never == (soon, None)
