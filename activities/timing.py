"""The account's now, and how late a step was done."""

from datetime import datetime, timedelta

from temporalio import activity

from billing.core.clock import now_by
from billing.matters.agenda import State


def now_of(state: State) -> datetime:
    """Return the account's now: its frozen clock, else real time."""
    return now_by(state.clock_at)


def measure_lateness(step: str, state: State, late: timedelta) -> None:
    """Record how late a step was done, as a worker metric by step; for real time only."""
    if state.clock_at is not None:
        return
    meter = activity.metric_meter().with_additional_attributes({"step": step})
    meter.create_histogram_timedelta(
        "billing_step_lateness", "How long after its time a step was done"
    ).record(max(timedelta(), late))
