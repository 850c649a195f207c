"""The step an incoming provider event calls for: ask the provider where its object stands now."""

from datetime import UTC, datetime
from typing import Final

from billing.matters.agenda import Lean, Step

AT_ONCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Due before every other step, on any account's clock."""
CHECK: Final = "check"
ASKED_FOR: Final = "payment.check"
"""The type of an event that nobody told: an operator has the provider asked."""


class WaitingEvent(Lean):
    """An event that came in and was not looked into since; an operator may have it replayed."""

    id: str
    replays: int = 0


def event_step(subject: str, event: WaitingEvent) -> Step:
    """The same step, whether an agenda names it or the webhook hints at it.

    Each replay is a look of its own: `evt_…`, then `evt_….1`; each is done once.
    """
    suffix = f"{event.id}.{event.replays}" if event.replays else event.id
    return Step(
        name=CHECK,
        due=AT_ONCE,
        key=f"{subject}/{suffix}",
        words="look into a Stripe event",
        event=event.id,
    )
