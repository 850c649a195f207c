"""The step an incoming provider event calls for: ask the provider where its object stands now."""

from datetime import UTC, datetime
from typing import Final

from billing.core.agenda import Step

AT_ONCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Due before every other step, on any account's clock."""
CHECK: Final = "check"


def event_step(workflow_id: str, event_id: str) -> Step:
    """The same step, whether an agenda names it or the webhook hints at it.

    An event that an operator replays is named `evt_….1`, then `.2`: each look is done once.
    """
    subject = workflow_id.partition("/")[2]
    return Step(
        name=CHECK, due=AT_ONCE, key=f"{subject}/{event_id}", words="look into a Stripe event"
    )


def is_event(step: Step) -> bool:
    """Whether this step was called for by an event."""
    return step.name == CHECK and step.due == AT_ONCE


def event_of(step_key: str) -> str | None:
    """The provider's event a check is about; None when the calendar asked for it."""
    mark = step_key.rpartition("/")[2]
    return mark.partition(".")[0] if mark.startswith("evt_") else None
