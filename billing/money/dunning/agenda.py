"""The agenda of an invoice that its own matter pursues. Pure."""

from billing.matters.agenda import State, Step
from billing.money.dunning.rules import Collecting, agenda
from billing.platform.provider_inbox.rules import WaitingEvent, event_step


class CollectionState(State):
    """The state of an invoice that its own matter pursues, read from its rows."""

    invoice: Collecting | None
    """None once it is paid, forgiven or given up."""
    events: tuple[WaitingEvent, ...] = ()
    subject: str


def collection_agenda(state: CollectionState) -> list[Step]:
    """Return the agenda of an invoice without an open subscription."""
    steps = agenda(state.invoice) if state.invoice is not None else []
    if state.events:
        steps.insert(0, event_step(state.subject, state.events[0]))
    return steps
