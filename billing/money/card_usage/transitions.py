"""Decisions on a use that a card pays: begun, completed, or failed and proven unpaid. Pure."""

from dataclasses import dataclass
from typing import Final, TypedDict
from uuid import UUID

from billing.core import ids, keys
from billing.core.money import show_decimal
from billing.matters.agenda import Step, head
from billing.matters.effects import Bear, Change, Do, Operation, Rows, Wake, Work
from billing.matters.kinds import CHARGE
from billing.metering.usage import rules as usage_rules
from billing.metering.usage.schemas import Status
from billing.money.card_usage.rules import ChargeState, agenda
from billing.money.card_usage.schemas import ChargedUse
from billing.money.collecting import views
from billing.money.collecting.facts import Collected, CollectFacts, Refused
from billing.money.collecting.outcomes import called_back
from billing.money.collecting.transitions import collect, invoice_of
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice, Line, NewInvoice
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import Attempt
from billing.platform.provider_inbox.rules import waiting_events


class UsageStatus(TypedDict):
    """A billing record with its new status."""

    account_id: UUID
    record_id: UUID
    method: str
    status: str


SET_STATUS: Final = Operation[UsageStatus]("set_usage_status")
"""The verb that writes the status of a billing record."""


@dataclass(slots=True)
class ChargeFacts(CollectFacts):
    """Facts of a charge beside its rows."""


def view(rows: Rows, facts: ChargeFacts) -> ChargeState:
    """Return the state of a charge: invoices that may still bring money first, then the draft."""
    use, draft = use_of(rows), draft_of(rows)
    seen = (views.collecting(rows, one, pay_first=True) for one in rows.of(Invoice))
    known = ChargeState(
        clock_at=facts.clock_at,
        status=use.billing_status,
        charge=ids.encode(ids.BILLING_RECORD, use.id),
        invoice=next((one for one in seen if one is not None), None),
        begun_at=draft.created_at if draft is not None else None,
        events=waiting_events(rows),
    )
    step = head(agenda(known))
    what = f"{show_decimal(use.total_amount)} {use.currency}"
    words = f"**{known.status}** {what}: {step.words if step else 'nothing to do'}"
    return known.model_copy(update={"words": words})


def begun(rows: Rows, _: ChargeFacts, step: Step) -> bool:
    """True if the step's try of a card still waits for its result."""
    return any(one.key == step.key and one.status == "pending" for one in rows.of(Attempt))


def begin(
    w: Work[ChargeFacts],
    line: Line,
    *,
    currency: str,
    issuer_id: UUID | None,
    method_id: UUID,
    unattended: bool = False,
) -> None:
    """Write the invoice of a use and its card payment; `unattended`: its payer did not ask for it.

    If the money balance covers it, it is paid at once (docs/rules/money.md). If it is too small for
    a card with its tax, it is charged with what was carried before; if both are too small, the next
    invoice carries it. A use whose card failed is begun again.
    """
    use, earlier = use_of(w.rows), len(w.rows.of(Invoice))
    draft = invoices.draft(
        w,
        NewInvoice(
            account_id=use.account_id,
            issuer_id=issuer_id,
            workflow_id=CHARGE.workflow_id(use.id),
            fact_key=keys.use_charge(ids.encode(ids.BILLING_RECORD, use.id), earlier + 1),
            currency=currency,
            lines=(line,),
        ),
    )
    draft = invoices.bill_carried(w, invoices.use_balance(w, draft))
    draft = invoices.whole_steps(w, draft)
    if not invoices.is_collectable(draft):
        invoices.finalize(w, draft)
        _end(w, "completed")
        return
    owed = Owed(w.rows, draft.id)
    payments.open_flow(w, owed, "saved_card", method_id, unattended=unattended)
    if earlier:
        w.do(Wake(CHARGE.workflow_id(use.id)))
    else:
        w.do(Bear(CHARGE, use.account_id, use.id, head(agenda(view(w.rows, w.facts)))))


def transition(w: Work[ChargeFacts], step: Step) -> None:
    """Decide one step; the record's status follows its draft."""
    match expire(w) if step.name == "expire" else collect(w, invoice_of(w, step), step):
        case "paid":
            _end(w, "completed")
        case Refused(reason) if reason != "provider_down":
            fail(w, reason)


def expire(w: Work[ChargeFacts]) -> Collected | None:
    """Give up a late charge; the provider's answer on an open payment comes first."""
    draft = draft_of(w.rows)
    if draft is None:
        raise LookupError("no draft is being charged")
    gone, became = called_back(w, Owed(w.rows, draft.id).live)
    if not gone:
        return became
    payments.close_flows(w, draft.id)
    w.result = "expired"
    return Refused("not charged in time")


def fail(w: Work[ChargeFacts], reason: str) -> None:
    """Fail a charge: its draft becomes void, and another try starts from the beginning [F22].

    Its open payment is called back next; money that still arrives is kept on the balance.
    """
    draft = draft_of(w.rows)
    if draft is not None:
        invoices.void(w, draft, reason)
    if use_of(w.rows).billing_status == "pending":
        _end(w, "failed")


def use_of(rows: Rows) -> ChargedUse:
    """Return the one use among the rows."""
    (use,) = rows.of(ChargedUse)
    return use


def draft_of(rows: Rows) -> Invoice | None:
    """The draft that a charge is paying now."""
    return next((one for one in rows.of(Invoice) if one.status == "draft"), None)


def _end(w: Work[ChargeFacts], status: Status) -> None:
    """Write the record's final status, and announce it."""
    use = use_of(w.rows)
    if use.billing_status == status:
        return
    named: UsageStatus = {
        "account_id": use.account_id,
        "record_id": use.id,
        "method": use.billing_method,
        "status": status,
    }
    w.do(Do(SET_STATUS, named, Change(ChargedUse, use.id, {"billing_status": status})))
    subject = ids.encode(ids.BILLING_RECORD, use.id)
    facts = usage_rules.status_facts(use.id, use.billing_method, status)
    w.announce(use.account_id, usage_rules.STATUS_ACTIONS[status], subject, facts)
