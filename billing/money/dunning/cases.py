"""The dunning case of an unpaid invoice: opened, changed by operators, closed. Pure."""

from datetime import datetime
from typing import Any
from uuid import UUID

from billing.core import ids
from billing.core.errors import Conflict, Invalid
from billing.matters.effects import Facts, Rows, Work
from billing.money.dunning.facts import DunningFacts
from billing.money.dunning.rules import (
    MAX_EXTENSION_DAYS,
    UNDECIDED_IS_OVERDUE,
    for_collection,
    postponed,
)
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices import notes
from billing.money.invoices.notes import NewNote
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments.owed import Owed


def pause(w: Work[Facts], invoice_id: UUID, *, reason: str = "", with_all: bool = False) -> None:
    """Pause the case: no slots and no final action until it is resumed; `with_all` of its account,
    until those are, unless it is paused by itself meanwhile.
    """
    case = _open_case_of(w, invoice_id)
    if case.status != "paused":
        paused = w.change(case, status="paused", paused_at=w.facts.at, is_paused_with_all=with_all)
        announce(w, paused, "paused", **_why(reason))
    elif case.is_paused_with_all and not with_all:
        announce(w, w.change(case, is_paused_with_all=False), "paused", **_why(reason))


def resume(w: Work[Facts], invoice_id: UUID, *, reason: str = "") -> None:
    """Resume the case; its slots continue where they stopped."""
    case = _open_case_of(w, invoice_id)
    if case.status != "open":
        resumed = w.change(case, status="open", paused_at=None, is_paused_with_all=False)
        announce(w, resumed, "resumed", **_why(reason))


def extend(w: Work[Facts], invoice_id: UUID, *, days: int, reason: str = "") -> None:
    """Move the coming slots and the final action by `days`, however late they are.

    Errors: INVALID_EXTENSION.
    """
    case = _open_case_of(w, invoice_id)
    if not 0 < days <= MAX_EXTENSION_DAYS - case.extended_days:
        raise Invalid(
            "INVALID_EXTENSION",
            f"a case can be extended by at most {MAX_EXTENSION_DAYS} days in total",
        )
    extended = w.change(
        case,
        extended_days=case.extended_days + days,
        postponed_until=postponed(case.agenda_case, w.facts.at, days),
    )
    announce(w, extended, "extended", days=days, **_why(reason))


def forgive(w: Work[InvoiceFacts], invoice_id: UUID, reason: str, *, tries: bool = True) -> Invoice:
    """Forgive the rest that is owed, by a credit note; `tries`: one may be under way.

    Errors: INVOICE_STATE, PAYMENT_PENDING.
    """
    invoice = w.rows.get(Invoice, invoice_id)
    demand_open(invoice)
    demand_no_money_on_its_way(w, invoice_id, tries=tries)
    close_case(w, invoice_id, "forgiven", reason)
    owed = invoice.remaining_minor
    note = NewNote("forgiven", owed, reason, "forgiven", was_served=True, settlement="forgiven")
    return notes.credit_note(w, invoice, note)


def demand_open(invoice: Invoice) -> None:
    """Raise INVOICE_STATE if the invoice is not open."""
    if invoice.status != "open":
        raise wrong_status(invoice, "has nothing to forgive")


def demand_no_money_on_its_way(w: Work[Facts], invoice_id: UUID, *, tries: bool = True) -> None:
    """Raise PAYMENT_PENDING while a payment, or one of its `tries`, may still bring money, or a
    reported transfer awaits its decision.
    """
    owed = Owed(w.rows, invoice_id)
    live = owed.live.status if owed.live is not None else None
    if live == "pending_approval":
        raise Conflict(
            "PAYMENT_PENDING",
            "a manual payment of this invoice is awaiting approval; approve or reject it first",
        )
    processing = live == "processing" or owed.submission is not None
    undecided = tries and (owed.undecided is not None or owed.is_being_captured)
    if processing or undecided or owed.unsettled is not None:
        raise Conflict(
            "PAYMENT_PENDING", "a payment of this invoice is undecided; retry once it is decided"
        )


def demand_open_case(case: DunningCase) -> None:
    """Raise DUNNING_CASE_CLOSED if the case is closed."""
    if not case.is_open:
        raise Conflict(
            "DUNNING_CASE_CLOSED", f"this case is {case.status}", case_status=case.status
        )


def pursue(w: Work[DunningFacts], invoice_id: UUID) -> None:
    """Reopen a case that has used up its tries for a collection, which ends as uncollectible.

    Its last term is as long as all its slots; it tries only what the payer asks for.
    """
    case = case_of(w.rows, invoice_id)
    if case is None or case.status != "exhausted":
        return
    policy = for_collection(case.terms)
    pursued = w.change(
        case,
        status="open",
        policy=policy.model_dump(mode="json"),
        day_zero_at=w.facts.at,
        last_slot=max(case.last_slot, len(policy.days) - 1),
        extended_days=0,
        postponed_until=None,
        close_reason=None,
        closed_at=None,
    )
    announce(w, pursued, "pursued")
    _pause_with_all(w, invoice_id)


def close_case(w: Work[Facts], invoice_id: UUID, status: str, reason: str) -> None:
    """End the invoice's case: recovered, exhausted, forgiven or canceled."""
    case = case_of(w.rows, invoice_id)
    if case is None or not case.is_open:
        return
    closed = w.change(case, status=status, close_reason=reason, closed_at=w.facts.at)
    announce(w, closed, status, reason=reason)


def case_of(rows: Rows, invoice_id: UUID) -> DunningCase | None:
    """Return the invoice's one case, open or closed."""
    return next(iter(rows.having(DunningCase, "invoice_id", invoice_id)), None)


def is_recovering(rows: Rows, invoice_id: UUID) -> bool:
    """True while the invoice has an open case."""
    case = case_of(rows, invoice_id)
    return case is not None and case.is_open


def slots_of(w: Work[DunningFacts], owed: Owed) -> int:
    """Return the number of tries in the terms of an invoice."""
    case = case_of(w.rows, owed.invoice_id)
    return len((case.terms if case is not None else w.facts.terms).days)


def _open_case_of(w: Work[Facts], invoice_id: UUID) -> DunningCase:
    case = case_of(w.rows, invoice_id)
    if case is None:
        raise LookupError(f"invoice {invoice_id} has no case")
    demand_open_case(case)
    return case


def _why(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}


def doubt(w: Work[DunningFacts], owed: Owed) -> bool:
    """Open the case of an invoice that a bank still decides on long after it was due.

    It is overdue until the bank has decided; no other card is tried before.
    """
    live, invoice = owed.live, owed.invoice
    if live is None or live.status != "processing" or invoice.status != "open":
        return False
    due_at = invoice.due_at or invoice.created_at
    if w.facts.at < due_at + UNDECIDED_IS_OVERDUE or case_of(w.rows, invoice.id) is not None:
        return False
    open_case(w, owed)
    return True


def after_the_bank(w: Work[DunningFacts], owed: Owed) -> None:
    """Open the case after a bank refused a payment that it took time for: the slots count from now,
    because nobody was late before.
    """
    known = case_of(w.rows, owed.invoice_id) is not None
    if owed.invoice.status == "open" and not known and is_due(w, owed.invoice):
        open_case(w, owed, day_zero_at=w.facts.at)


def is_due(w: Work[Facts], invoice: Invoice) -> bool:
    """True if the invoice is due: a charged one is at once, a sent one after its days."""
    return invoice.due_at is None or w.facts.at >= invoice.due_at


def open_case(
    w: Work[DunningFacts], owed: Owed, *, day_zero_at: datetime | None = None
) -> DunningCase:
    """Open the invoice's one case under the current terms; slots count from its due date."""
    at, invoice = w.facts.at, owed.invoice
    case = w.add(
        DunningCase(
            id=w.facts.new_id(),
            account_id=invoice.account_id,
            invoice_id=invoice.id,
            subscription_id=invoice.subscription_id,
            status="open",
            policy=w.facts.terms.model_dump(mode="json"),
            zone=w.facts.zone,
            day_zero_at=day_zero_at or invoice.due_at or invoice.finalized_at or at,
            last_slot=0,
            last_slot_ran_at=at,
            last_true_attempt_at=at,
            opened_at=at,
        ),
        once="invoice_id",
    )
    announce(w, case, "opened")
    _pause_with_all(w, invoice.id)
    return w.rows.get(DunningCase, case.id)


def _pause_with_all(w: Work[DunningFacts], invoice_id: UUID) -> None:
    """Pause a case that opens while all of its account's recovery is paused."""
    if w.facts.all_paused:
        pause(w, invoice_id, reason="all recovery of the customer is paused", with_all=True)


def announce(w: Work[Facts], case: DunningCase, what: str, **detail: Any) -> None:
    """Write one audit row and one `evt.billing.dunning.*`."""
    subject = ids.encode(ids.DUNNING_CASE, case.id)
    facts = {
        "dunning_case_id": subject,
        "invoice_id": ids.encode(ids.INVOICE, case.invoice_id),
        **detail,
    }
    w.announce(case.account_id, f"dunning.{what}", subject, facts)
