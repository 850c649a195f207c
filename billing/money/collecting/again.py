"""An order to try again now what reached no card, and not an hour after that try. Pure."""

from datetime import datetime
from uuid import UUID

from billing.matters.effects import Facts, Work
from billing.money.collecting.rules import PROVIDER_DOWN_EVERY
from billing.money.dunning import cases
from billing.money.dunning.rules import not_before
from billing.money.dunning.schemas import DunningCase
from billing.money.payments.owed import Owed
from billing.money.payments.rules import PROVIDER_REFUSED
from billing.money.payments.schemas import AGAIN_AT, Attempt


def try_now(w: Work[Facts], invoice_id: UUID) -> bool:
    """Make the invoice's next try due, with the key that it has; False if none waits for its hour,
    or its recovery is paused or postponed.
    """
    owed, at = Owed(w.rows, invoice_id), w.facts.at
    last = owed.attempts[-1] if owed.attempts else None
    if last is None or owed.invoice.status != "open" or not _waits(last, at):
        return False
    if _is_held_back(cases.case_of(w.rows, invoice_id), at):
        return False
    w.change(last, detail=last.detail | {AGAIN_AT: at.isoformat()})
    return True


def _waits(last: Attempt, at: datetime) -> bool:
    """True if the try reached no card, and the next one waits for its hour."""
    if last.status != "unreached" or last.decline_code == PROVIDER_REFUSED:
        return False
    ended = last.finished_at or last.started_at
    return last.again_at is None and at < ended + PROVIDER_DOWN_EVERY


def _is_held_back(case: DunningCase | None, at: datetime) -> bool:
    if case is None or not case.is_open:
        return False
    return case.status == "paused" or not_before(case.agenda_case, at) > at
