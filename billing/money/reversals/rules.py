"""The agenda of a reversal; a pure function of its rows.

The refunds, and the split of the money, are in `billing/money/refunds`; disputes are rows of
`billing/money/disputes`, and `disputing.py` has their life.
"""

from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime

from billing.core import keys
from billing.matters.agenda import Lean, State, Step
from billing.money.payments.rules import next_check
from billing.platform.provider_inbox.rules import WaitingEvent, event_step

REMIND_BEFORE: Final = (timedelta(days=3), timedelta(days=1))
"""Reminders of a dispute are sent this long before its evidence is due."""


class OpenRefund(Lean):
    """A refund that is not finished, read from its row."""

    key: str
    created_at: AwareDatetime
    is_known: bool = False
    """The provider has it, and it has not arrived yet."""
    checks: int = 0
    last_check_at: AwareDatetime | None = None


class Answering(Lean):
    """A dispute whose evidence is due."""

    dispute: str
    """External id, the stem of its keys."""
    due_at: AwareDatetime
    reminders: int = 0


class ReversalState(State):
    """The state of one payment's reversal, read from its rows."""

    payment: str
    """External id, the stem of its keys."""
    refund: OpenRefund | None = None
    unbooked: str | None = None
    """Key of the step that books what went back at the provider on invoice and credits."""
    unbooked_since: AwareDatetime | None = None
    dispute: Answering | None = None
    """The dispute whose next reminder comes first."""
    events: tuple[WaitingEvent, ...] = ()
    """Provider events that were received and not handled yet."""


def agenda(state: ReversalState) -> list[Step]:
    """Return all open steps, unordered."""
    steps = []
    if state.events:
        steps.append(event_step(state.payment, state.events[0]))
    if state.unbooked is not None and state.unbooked_since is not None:
        due, words = state.unbooked_since, "book what went back"
        step = Step(name="book", due=due, key=state.unbooked, words=words, payment=state.payment)
        steps.append(step)
    if state.refund is not None:
        steps.append(_refund(state, state.refund))
    if state.dispute is not None:
        steps.append(_remind(state, state.dispute))
    return steps


def reminder_due(due_at: datetime, reminders: int) -> datetime | None:
    """Instant of the next reminder; None once all were sent."""
    if reminders >= len(REMIND_BEFORE):
        return None
    return due_at - REMIND_BEFORE[reminders]


def _refund(state: ReversalState, refund: OpenRefund) -> Step:
    """Request a refund at once; while it is on its way, check it at a payment's usual times."""
    due, words = refund.created_at, "give the money back"
    if refund.is_known:
        due = next_check(refund.created_at, refund.checks, refund.last_check_at)
        words = "see whether the money is back"
    return Step(name="refund", due=due, key=refund.key, words=words, payment=state.payment)


def _remind(state: ReversalState, answering: Answering) -> Step:
    return Step(
        name="remind",
        due=reminder_due(answering.due_at, answering.reminders) or answering.due_at,
        key=keys.reminder(answering.dispute, answering.reminders + 1),
        words="remind operators of the dispute's deadline",
        payment=state.payment,
    )
