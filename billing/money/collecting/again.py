"""An order to try again now what reached no card, and not an hour after that try. Pure."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from billing.core import ids
from billing.matters.agenda import Step
from billing.matters.effects import Facts, Work
from billing.money.collecting.rules import is_again
from billing.money.dunning import cases
from billing.money.dunning.rules import not_before
from billing.money.payments.owed import Owed
from billing.money.payments.rules import PROVIDER_REFUSED
from billing.money.payments.schemas import AGAIN_AT, Attempt


def try_now(w: Work[Facts], invoice_id: UUID, plan: Iterable[Step]) -> bool:
    """Make the invoice's next try due, with the key that it has; False if none waits for its hour
    in its collector's plan, or its recovery is paused or postponed.
    """
    last = _last(w, invoice_id)
    if last is None or last.again_at is not None:
        return False
    # A requested try, or that of a card which is no longer chosen, is not made again.
    if not any(one.due > w.facts.at for one in _again(invoice_id, plan)):
        return False
    w.change(last, detail=last.detail | {AGAIN_AT: w.facts.at.isoformat()})
    return True


def is_ordered(w: Work[Facts], invoice_id: UUID, plan: Iterable[Step]) -> bool:
    """True if an operator has ordered the invoice's next try, and it is still to be made."""
    last = _last(w, invoice_id)
    return last is not None and last.again_at is not None and any(_again(invoice_id, plan))


def _last(w: Work[Facts], invoice_id: UUID) -> Attempt | None:
    """Return the last try, if it reached no card, and the next one may be ordered."""
    owed = Owed(w.rows, invoice_id)
    last = owed.attempts[-1] if owed.attempts else None
    if last is None or last.status != "unreached" or last.decline_code == PROVIDER_REFUSED:
        return None
    if owed.invoice.status != "open" or _is_held_back(w, invoice_id):
        return None
    return last


def _again(invoice_id: UUID, plan: Iterable[Step]) -> Iterator[Step]:
    """Yield the planned tries that are made again because the last one reached no card."""
    name = ids.encode(ids.INVOICE, invoice_id)
    return (one for one in plan if one.invoice == name and is_again(one))


def _is_held_back(w: Work[Facts], invoice_id: UUID) -> bool:
    case = cases.case_of(w.rows, invoice_id)
    if case is None or not case.is_open:
        return False
    return case.status == "paused" or not_before(case.agenda_case, w.facts.at) > w.facts.at
