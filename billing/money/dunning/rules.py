"""The slots of a dunning case, and the instant of its final action. Pure.

Slots are at day 0 (the renewal itself), 3 and 7 by default (docs/rules/dunning.md).
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import periods
from billing.core.frozen import Frozen

MAX_EXTENSION_DAYS: Final = 90
FINAL_ACTION_GAP: Final = timedelta(hours=24)
UNDECIDED_IS_OVERDUE: Final = timedelta(days=14)
"""An invoice is overdue if its bank still decides this long after the due date."""


class Case(Frozen):
    """An open dunning case, with the progress of its slots."""

    status: Literal["open", "paused"]
    policy: DunningPolicy
    zone: str
    day_zero_at: AwareDatetime
    last_slot: int
    last_slot_ran_at: AwareDatetime
    last_true_attempt_at: AwareDatetime
    extended_days: int = 0
    postponed_until: AwareDatetime | None = None
    """Nothing is due before; set by an extension, not in 0.1.0."""
    pursued: bool = False
    """True if it was exhausted before, and has a last term."""
    ends_by_slots: bool = False
    """True if requested tries do not delay the end beyond the last slot; False in the states that
    0.1.0 wrote into histories.
    """


def for_collection(policy: DunningPolicy) -> DunningPolicy:
    """Return a plan's policy for a collection: it ends as uncollectible (docs/rules/dunning.md)."""
    return policy.model_copy(update={"final_action": "uncollectible"})


def slot_due(case: Case, slot: int) -> datetime:
    """Return the slot's own date, or its planned gap after the last slot that ran, if that is
    later: missed slots never bunch.
    """
    planned = planned_at(case, slot)
    gap = planned - planned_at(case, case.last_slot)
    return not_before(case, spaced_due(planned, gap, case.last_slot_ran_at))


def final_due(case: Case) -> datetime:
    """Return the time after last slot and grace days, at least 24 h after the last slot's true
    attempt.

    Requested tries delay it no longer than the last slot does, except in a state of 0.1.0: a
    replayed run must find what that release did.
    """
    last = len(case.policy.days) - 1
    planned = planned_at(case, last) + timedelta(days=case.policy.grace_days)
    tried_at = case.last_true_attempt_at
    if case.ends_by_slots:
        tried_at = min(case.last_slot_ran_at, tried_at)
    return not_before(case, final_action_due(planned, tried_at))


def coming_due(case: Case) -> datetime:
    """Return the due date of the next slot, or of the final action after the last one."""
    coming = case.last_slot + 1
    return slot_due(case, coming) if coming < len(case.policy.days) else final_due(case)


def postponed(case: Case, at: datetime, days: int) -> datetime:
    """Return the instant until which an extension at `at` postpones what is to come: its days are
    added to the due date, or to now if that has passed.
    """
    wall = periods.to_wall(max(coming_due(case), at), case.zone)
    return periods.from_wall(wall + timedelta(days=days), case.zone)


def not_before(case: Case, due: datetime) -> datetime:
    """Return the due date, or the instant to which an extension has postponed it, if later."""
    return due if case.postponed_until is None else max(due, case.postponed_until)


def spaced_due(planned: datetime, gap: timedelta, last_ran_at: datetime) -> datetime:
    """The due date of a repeated step: its own date, or `gap` after the last run, if later.

    A missed run happens at once; the runs after it never bunch up (docs/rules/time.md).
    """
    return max(planned, last_ran_at + gap)


def final_action_due(planned: datetime, last_attempt_at: datetime) -> datetime:
    """Return when a final action is due: at least 24 h after the last planned attempt that ran."""
    return max(planned, last_attempt_at + FINAL_ACTION_GAP)


def planned_at(case: Case, slot: int) -> datetime:
    """Return the slot's own date."""
    if slot == 0 and not case.extended_days:
        return case.day_zero_at
    wall = periods.to_wall(case.day_zero_at, case.zone)
    wall += timedelta(days=case.policy.days[slot] + case.extended_days)
    if case.policy.hour is not None and slot > 0:
        wall = wall.replace(hour=case.policy.hour, minute=0, second=0, microsecond=0)
    return periods.from_wall(wall, case.zone)
