"""The step that a provider event causes: query the provider for its object's current state."""

from datetime import UTC, datetime, timedelta
from typing import Final

from billing.matters.agenda import Lean, Step
from billing.matters.effects import Rows

AT_ONCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Due before every other step, on any account's clock."""
CHECK: Final = "check"
ASKED_FOR: Final = "payment.check"
"""The type of an event that no provider sent: an operator requested the check."""
PARK_AFTER: Final = timedelta(hours=24)
"""An event that still has no owner is parked."""


class WaitingEvent(Lean):
    """A stored event that is not handled yet; an operator may replay it."""

    id: str
    replays: int = 0


def waiting_events(rows: Rows) -> tuple[WaitingEvent, ...]:
    """Return the provider's events that were not handled yet."""
    return tuple(WaitingEvent(id=one.id, replays=one.replays) for one in rows.waiting_events)


def event_step(subject: str, event: WaitingEvent) -> Step:
    """Return the same step for an agenda and for a webhook's hint.

    Each replay is a separate step, done once: `evt_…`, then `evt_….1`.
    """
    suffix = f"{event.id}.{event.replays}" if event.replays else event.id
    return Step(
        name=CHECK,
        due=AT_ONCE,
        key=f"{subject}/{suffix}",
        words="check an event of the provider",
        event=event.id,
    )
