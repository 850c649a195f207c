"""An open invoice whose subscription has ended passes to a matter of its own. Pure."""

from typing import Final, TypedDict
from uuid import UUID

from billing.matters.agenda import head
from billing.matters.effects import Bear, Do, Operation, Work
from billing.matters.kinds import COLLECTION
from billing.money.collecting import rules
from billing.money.collecting.facts import CollectFacts
from billing.money.collecting.views import collecting
from billing.money.dunning import cases
from billing.money.invoices.schemas import Invoice
from billing.money.payments.owed import Owed


class MovedEvents(TypedDict):
    """An invoice with the names of the matters that collected it and that do so now."""

    invoice_id: UUID
    before: str
    workflow_id: str


MOVE_EVENTS: Final = Operation[MovedEvents]("move_events")
"""The verb that moves the provider's waiting events to the matter that collects from now on."""


def hand_to_collection(w: Work[CollectFacts], invoice: Invoice) -> None:
    """Give an open invoice whose subscription has ended to a matter of its own."""
    cases.pursue(w, invoice.id)
    before, matter_id = invoice.workflow_id, COLLECTION.workflow_id(invoice.id)
    moved = w.change(invoice, workflow_id=matter_id)
    for payment in Owed(w.rows, invoice.id).payments:
        w.change(payment, workflow_id=matter_id)
    named = MovedEvents(invoice_id=invoice.id, before=before, workflow_id=matter_id)
    w.do(Do(MOVE_EVENTS, named))
    seen = collecting(w.rows, moved, pay_first=False, own_card=w.facts.own_card)
    first = head(rules.agenda(seen)) if seen is not None else None
    w.do(Bear(COLLECTION, invoice.account_id, invoice.id, first))
