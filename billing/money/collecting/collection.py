"""The matter that pursues one invoice whose subscription has ended: its decision. Pure."""

from dataclasses import dataclass, field
from uuid import UUID

from billing.matters.agenda import Step
from billing.matters.deciding import Rules
from billing.matters.effects import Rows, Work
from billing.money.collecting import views
from billing.money.collecting.facts import CollectFacts
from billing.money.collecting.rules import CollectionState, collection_agenda
from billing.money.collecting.transitions import collect, give_up
from billing.money.invoices.schemas import Invoice
from billing.money.payments.owed import Owed


@dataclass(slots=True)
class CollectionFacts(CollectFacts):
    """The facts of a collection, in addition to its rows."""

    invoice_id: UUID = field(kw_only=True)


def view(rows: Rows, facts: CollectionFacts) -> CollectionState:
    """Return the state of the collection, for its workflow."""
    invoice = rows.get(Invoice, facts.invoice_id)
    return views.collection(rows, invoice, facts.clock_at, facts.own_card)


def begun(rows: Rows, facts: CollectionFacts, step: Step) -> bool:
    """True if the result of the step's provider call is not recorded yet."""
    attempt = Owed(rows, facts.invoice_id).undecided
    return attempt is not None and attempt.key == step.key


def transition(w: Work[CollectionFacts], step: Step) -> None:
    """Decide one step; nothing but the invoice depends on it."""
    if step.name == "give_up":
        give_up(w, w.facts.invoice_id, "uncollectible")
    else:
        collect(w, w.facts.invoice_id, step)


RULES = Rules(view=view, agenda=collection_agenda, transition=transition, begun=begun)
