"""Reads the state that the agenda of collecting needs from the rows. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from billing.core import ids
from billing.core.money import show_money
from billing.matters.agenda import head
from billing.matters.effects import Rows
from billing.money.collecting.rules import (
    APPROVAL_SUSPENDS,
    CHOSEN,
    FIRST_APPROVAL_WITHIN,
    Collecting,
    CollectionState,
    Undecided,
    card_key,
    collection_agenda,
    first_key,
)
from billing.money.dunning import cases
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.schemas import Method
from billing.money.payments import card_choice
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed, is_before_choice
from billing.money.payments.rules import LINK_LIFETIME, PROVIDER_REFUSED
from billing.money.payments.schemas import UNTRIED, Attempt, Payment, public_id
from billing.platform.provider_inbox.rules import waiting_events


def collecting(
    rows: Rows, invoice: Invoice, *, pay_first: bool, own_card: UUID | None = None
) -> Collecting | None:
    """Return one invoice as its agenda sees it; None if nothing can happen to it any more.

    A settled invoice is included while a payment could still bring money for it.
    """
    owed = Owed(rows, invoice.id)
    live, submission, unsettled = owed.live, owed.submission, owed.unsettled
    open_flow = live is not None and invoice.status != "draft"
    is_owed = invoice.is_owed or (invoice.status == "draft" and pay_first)
    if not (is_owed or unsettled or submission or open_flow):
        return None
    case = cases.case_of(rows, invoice.id)
    given_up = invoice.status == "uncollectible" or (case is not None and not case.is_open)
    seen = Collecting(
        invoice=ids.encode(ids.INVOICE, invoice.id),
        day_zero_at=invoice.finalized_at or invoice.created_at,
        first_slot_at=invoice.due_at if invoice.collection == "send_invoice" else None,
        held=invoice.collection == "held",
        pay_first=invoice.status == "draft",
        closed=not invoice.takes_money,
        given_up=given_up,
        unsettled=public_id(unsettled),
        submission=public_id(submission),
        pay_requests=invoice.pay_requests,
        pay_requested_at=invoice.pay_requested_at,
    )
    fields = _case(invoice, case) | _live(owed, live) | _tries(owed)
    if live is not None and given_up:
        fields["offered_until"] = (live.offered_at or live.created_at) + LINK_LIFETIME
    fields |= _card(rows, owed, own_card)
    return seen.model_copy(update=fields)


def _approval_within(owed: Owed) -> timedelta:
    """Return how long a manual payment holds cards back; earlier ones of the invoice have used up
    the time that they waited (docs/rules/payments.md).
    """
    if owed.invoice.finalized_at is None:  # a draft, also once it is void
        return FIRST_APPROVAL_WITHIN
    earlier = (one for one in owed.payments if one.flow == "manual" and one.paid_at is None)
    waited = (one.closed_at - one.created_at for one in earlier if one.closed_at is not None)
    return max(APPROVAL_SUSPENDS - sum(waited, timedelta()), timedelta())


def collection(
    rows: Rows, invoice: Invoice, clock_at: datetime | None, own_card: UUID | None
) -> CollectionState:
    """Return the state of an invoice that a matter of its own pursues."""
    state = CollectionState(
        clock_at=clock_at,
        status="collecting" if invoice.status == "open" else invoice.status,
        invoice=collecting(rows, invoice, pay_first=False, own_card=own_card),
        events=waiting_events(rows),
        subject=ids.encode(ids.INVOICE, invoice.id),
    )
    step = head(collection_agenda(state))
    money = show_money(invoice.remaining_minor, invoice.currency)
    words = f"{invoice.number}, {money}: {step.words if step else state.status}"
    return state.model_copy(update={"words": words})


def _case(invoice: Invoice, row: DunningCase | None) -> dict[str, object]:
    if row is None:
        return {}
    if not row.is_open:
        # A written-off invoice is paid on request, not by a card saved for something else.
        return {"last_tried_at": row.last_true_attempt_at if invoice.status == "open" else None}
    return {"case": row.agenda_case}


def _live(owed: Owed, live: Payment | None) -> dict[str, object]:
    if live is None:
        return {}
    last = owed.last_try(live.id)
    awaits_approval = live.status == "pending_approval"
    return {
        "payment": public_id(live),
        "flow": live.flow,
        "payment_status": live.status,
        "opened": live.opened,
        "payment_at": live.offered_at or live.created_at,
        "approval_within": _approval_within(owed) if awaits_approval else APPROVAL_SUSPENDS,
        "checks": live.checks,
        "last_check_at": live.last_check_at,
        "stale": owed.is_stale(live),
        "tried_at": last.started_at if last is not None else None,
        "awaits_payer": live.opened and last is not None and last.status == "action",
    }


def _tries(owed: Owed) -> dict[str, object]:
    tries = owed.attempts
    unreached = [one for one in tries if one.status == "unreached"]
    ended = [one.finished_at for one in unreached if one.finished_at is not None]
    # A payer's own try in the browser has no stored card.
    reached = [one for one in tries if one.payment_method_id and one.status not in UNTRIED]
    return {
        "undecided": _undecided(owed.undecided),
        "tried": tuple(sorted(one.key for one in tries if one.status != "pending")),
        "unreached_slots": tuple(sorted(one.slot for one in unreached if one.slot is not None)),
        "unreached_extras": tuple(sorted(_unreached_extras(unreached))),
        "last_unreached_at": max(ended, default=None),
        "again_at": unreached[-1].again_at if unreached else None,
        "last_began_at": max((one.started_at for one in reached), default=None),
    }


def _unreached_extras(unreached: Iterable[Attempt]) -> Iterator[str]:
    """Yield the keys of those beside the slots that another try may help: it does not help where
    the provider has refused to open the payment.
    """
    for one in unreached:
        if one.slot is None and one.decline_code != PROVIDER_REFUSED:
            yield one.key


def _card(rows: Rows, owed: Owed, own_card: UUID | None) -> dict[str, object]:
    card = card_choice.collecting_card(rows, owed, own_card)
    if card is None or card.barred_at is not None:
        return {}
    method = ids.encode(ids.PAYMENT_METHOD, card.id)
    reached = [one for one in owed.attempts if one.status not in UNTRIED]
    first = payments.charged_card(rows, own_card)
    refused = [
        one.finished_at
        for one in reached
        if first is not None and first.id != card.id and one.payment_method_id == first.id
    ]
    if refused and refused[-1] is not None and card.chosen_at <= refused[-1]:
        return {"method": method, "backup_since": refused[-1]}
    return {
        "method": method,
        "method_chosen_at": card.chosen_at,
        "method_tried": any(
            one.payment_method_id == card.id and not is_before_choice(one, card) for one in reached
        ),
        "earlier_choices": _earlier_choices(owed, card, method),
    }


def _earlier_choices(owed: Owed, card: Method, method: str) -> int:
    """Return how many choices of this card, before the last one, had tries of their own."""
    first = card_key(ids.encode(ids.INVOICE, owed.invoice_id), method)
    earlier = {first_key(one.key) for one in owed.attempts if is_before_choice(one, card)}
    return sum(key.partition(CHOSEN)[0] == first for key in earlier)


def _undecided(attempt: Attempt | None) -> Undecided | None:
    if attempt is None:
        return None
    card = attempt.payment_method_id
    method = ids.encode(ids.PAYMENT_METHOD, card) if card is not None else None
    return Undecided(key=attempt.key, slot=attempt.slot, method=method, began_at=attempt.started_at)
