"""What a matter still has to do, and when: the shape of a step and the rules for late ones.

Every matter's plan is a pure function of its rows that returns steps; workflows wait for the
first, activities check against it, and the timeline shows them all.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, SerializerFunctionWrapHandler
from pydantic import model_serializer as serializer

FINAL_ACTION_GAP: Final = timedelta(hours=24)


class Lean(BaseModel):
    """What travels through Temporal: fields at their defaults are left out of its histories."""

    model_config = ConfigDict(frozen=True)

    @serializer(mode="wrap")
    def _without_defaults(self, encode: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        told: dict[str, Any] = encode(self)
        return {
            name: value
            for name, value in told.items()
            if fields[name].is_required() or getattr(self, name) != fields[name].default
        }


class Step(Lean):
    """One thing to do: `key` names the business fact and is done at most once."""

    name: str
    due: AwareDatetime
    key: str
    words: str = ""
    until: AwareDatetime | None = None
    """Not begun any more from then on: what follows it on the agenda is done instead."""


def head(steps: Iterable[Step], now: datetime | None = None) -> Step | None:
    """The step to do first, of those not too late at `now`; of equal times the one listed first."""
    in_time = (one for one in steps if now is None or one.until is None or now < one.until)
    return min(in_time, key=lambda step: step.due, default=None)


def spaced_due(planned: datetime, gap: timedelta, last_ran_at: datetime) -> datetime:
    """When a repeated step may run: on its date, and `gap` after the last one that truly ran.

    A missed one runs at once; the ones behind it never bunch up (product.md §2).
    """
    return max(planned, last_ran_at + gap)


def final_action_due(planned: datetime, last_true_attempt_at: datetime) -> datetime:
    """A final action never comes sooner than 24 h after the last attempt that truly ran."""
    return max(planned, last_true_attempt_at + FINAL_ACTION_GAP)


class State(Lean):
    """The rows' word about one matter: what its agenda is computed from, and how it reads."""

    clock_at: AwareDatetime | None = None
    """The account's frozen test clock; None while the account lives in real time."""
    status: str
    """For the search attribute BillingStatus: one word."""
    words: str = ""
    """Where the customer stands, in words, for the Temporal UI."""
    plan: str | None = None
