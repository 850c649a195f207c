"""The four search attributes by which operators find a matter; ids and single words only.

They are never encrypted, so nothing personal goes in.
"""

from datetime import datetime
from typing import Any, Final

from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from billing.matters.agenda import State

ACCOUNT_ID: Final = SearchAttributeKey.for_keyword("AccountId")
BILLING_STATUS: Final = SearchAttributeKey.for_keyword("BillingStatus")
NEXT_DUE_AT: Final[SearchAttributeKey[datetime]] = SearchAttributeKey.for_datetime("NextDueAt")
PLAN: Final = SearchAttributeKey.for_keyword("Plan")

ATTRIBUTES: Final[tuple[SearchAttributeKey[Any], ...]] = (
    ACCOUNT_ID,
    BILLING_STATUS,
    NEXT_DUE_AT,
    PLAN,
)
"""All search attributes; the namespace must have each."""

HALTED: Final = "halted"


def updates(
    state: State, plan_before: str | None, due: datetime | None
) -> list[SearchAttributeUpdate[Any]]:
    """Return the values of a matter whose status or plan changed."""
    changed: list[SearchAttributeUpdate[Any]] = [BILLING_STATUS.value_set(state.status)]
    if state.plan and state.plan != plan_before:
        changed.append(PLAN.value_set(state.plan))
    if due is not None:
        changed.append(NEXT_DUE_AT.value_set(to_the_second(due)))
    return changed


def to_the_second(due: datetime) -> datetime:
    """Return the instant as operators search for it: every digit is stored several times."""
    return due.replace(microsecond=0)
