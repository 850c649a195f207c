"""The agenda of a use that is charged to a card at once: pure, from its rows.

The use has one invoice of one line, which is paid first; a decline fails the record, and money that
still arrives is kept.
"""

from datetime import timedelta
from typing import Final

from pydantic import AwareDatetime

from billing.matters.agenda import State, Step
from billing.money.collecting import rules as collecting_rules
from billing.money.collecting.rules import Collecting
from billing.platform.provider_inbox.rules import WaitingEvent, event_step

LIFETIME: Final = timedelta(minutes=15)
"""A charge without a result by then is given up, uncharged."""


class ChargeState(State):
    """The state of one use that a card pays, read from its rows."""

    charge: str
    """External id of the billing record, the stem of its matter."""
    invoice: Collecting | None = None
    begun_at: AwareDatetime | None = None
    """Instant at which the draft that is being paid was written."""
    events: tuple[WaitingEvent, ...] = ()


def agenda(state: ChargeState) -> list[Step]:
    """Return all open steps: the card at once, then what its answer requires."""
    steps = []
    if state.events:
        steps.append(event_step(state.charge, state.events[0]))
    if state.invoice is None:
        return steps
    due = state.begun_at + LIFETIME if state.begun_at is not None else None
    steps += collecting_rules.agenda(state.invoice, until=due)
    if due is not None and _may_expire(state.invoice):
        key = f"{state.invoice.invoice}/expire"
        steps.append(Step(name="expire", due=due, key=key, words="give the charge up"))
    return steps


def _may_expire(invoice: Collecting) -> bool:
    """True unless the bank is deciding, or a try or its money is still open."""
    return (
        invoice.pay_first
        and invoice.payment_status != "processing"
        and invoice.undecided is None
        and invoice.unsettled is None
    )
