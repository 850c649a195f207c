"""Changes that are charged first: the draft is paid, then the change is applied. Pure.

These are an increase of an add-on, a change of plan and a resumption; a subscription has one such
change at a time.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from billing.core.currencies import demand_payable
from billing.core.errors import Conflict
from billing.matters.effects import Rows, Work
from billing.money.discounts import transitions as discounts
from billing.money.discounts.schemas import Discount
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.payments import card_choice, card_rules
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed
from billing.money.reversals import placing
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.endings import pauses
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.rules import AWAITS_PAYER
from billing.money.subscriptions.schemas import (
    ChangeKind,
    ChangeStatus,
    Paying,
    SubscriptionChange,
    Terms,
)
from billing.money.subscriptions.terms import agreements, change_rows, new_terms, scheduling

BEFORE_PERIOD_END: Final = timedelta(hours=1)


def begin(
    w: Work[SubscriptionFacts],
    kind: ChangeKind,
    wanted: dict[str, Any],
    invoice: Invoice,
    paying: Paying,
    terms: Terms | None = None,
) -> Invoice:
    """Write the change, open the payment of its draft, and return the draft.

    The money balance pays first, if it may; a debt on it is charged with a draft that is too small
    for a card alone. Errors: PAYMENT_METHOD_REQUIRED, PAYMENT_METHOD_NOT_FOUND, CARD_DECLINED for a
    barred card, CURRENCY_NOT_CHARGED for a bank account in another currency, AMOUNT_TOO_LARGE.
    """
    subscription, at = subscription_of(w), w.facts.at
    by_transfer = invoice.collection == "send_invoice"
    if paying.use_balance:
        invoice = invoices.use_balance(w, invoice)
    invoice = invoices.bill_carried(w, invoice)
    if not by_transfer:  # a sent invoice is numbered now, and its rest is carried then
        invoice = invoices.whole_steps(w, invoice)
    end = subscription.current_period_end
    if kind == "resume" and invoice.period_end is not None:
        end = invoice.period_end
    # In the last two hours: half of the time left.
    last = max(end - BEFORE_PERIOD_END, at + (end - at) // 2)
    change_rows.write(
        w, paying.change_id, kind, wanted, terms,
        status="pending", invoice_id=invoice.id, expires_at=min(at + AWAITS_PAYER, last),
    )  # fmt: skip
    money = {"amount_cents": invoice.amount_due_minor, "currency": subscription.currency}
    announce(w, subscription, "change_begun", kind=kind, wanted=wanted, **money)
    if invoices.is_collectable(invoice) and not by_transfer:
        demand_payable(invoice.remaining_minor, invoice.currency)
        flow, method_id = ("card", None) if paying.by_card else ("saved_card", _card(w, paying))
        payments.open_flow(w, Owed(w.rows, invoice.id), flow, method_id)
    return invoice


def apply(w: Work[SubscriptionFacts], invoice: Invoice) -> SubscriptionChange | None:
    """Apply the change that a paid invoice was drafted for, and return it."""
    change = _of_invoice(w.rows, invoice.id)
    if change is None:
        return None
    w.change(change, status="applied", decided_at=w.facts.at)
    invoices.owe_tax_of_credited(w, invoice)
    confirm_coupon(w, invoice.period_start or w.facts.at)
    _APPLY[change.kind](w, change, invoice)
    return change


def _resume(w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice) -> None:
    scheduling.take_waiting(w, invoice.period_start or w.facts.at)
    pauses.resume(w, invoice, change.terms.get("zone"))
    agreements.begin(w)


def _change_plan(w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice) -> None:
    scheduling.cancel(w, scheduling.OTHER_PLAN, "plan")
    if "add_ons" in change.wanted:
        scheduling.cancel(w, scheduling.OTHER_ADD_ONS, "add_ons")
    before, begins = subscription_of(w).price_id, invoice.period_start
    if begins is not None:
        agreements.pay(w, begins)
    new_terms.begin(w, change, invoice)
    if begins is not None:
        agreements.begin(w)
    scheduling.drop_price_after(w, before)
    scheduling.follow_period(w)
    announce(w, subscription_of(w), "plan_changed", **change.wanted)


def _change_add_ons(
    w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice
) -> None:
    scheduling.cancel(w, scheduling.OTHER_ADD_ONS, "add_ons")
    new_terms.take_add_ons(w, change, invoice)
    announce(w, subscription_of(w), "add_ons_chosen", add_ons=change.wanted)


def confirm_coupon(w: Work[SubscriptionFacts], since: datetime) -> None:
    """Confirm the coupon of a change that was applied, or that needs no payment and comes then."""
    for one in w.rows.of(Discount):
        if one.status == "reserved":
            announce(w, subscription_of(w), "coupon_redeemed", code=one.code)
    discounts.confirm(w, since)


def refuse(w: Work[SubscriptionFacts], invoice_id: UUID, reason: str) -> None:
    """Drop the change that an invoice should have paid for: its charge failed."""
    change = _of_invoice(w.rows, invoice_id)
    if change is not None:
        drop(w, change, "failed", reason)


def drop(
    w: Work[SubscriptionFacts], change: SubscriptionChange, status: ChangeStatus, reason: str
) -> None:
    """Drop a change; the next step cancels a payment that could still succeed."""
    w.change(change, status=status, reason=reason, decided_at=w.facts.at)
    discounts.release(w)
    invoice = w.rows.get(Invoice, change.draft_id)
    if invoice.status == "draft":
        invoices.void(w, invoice, reason)
        placing.take_room(w)
        invoices.owe_tax_of_credited(w, invoice)
    announce(w, subscription_of(w), "change_dropped", kind=change.kind, reason=reason)


def drop_pending(w: Work[SubscriptionFacts], reason: str) -> None:
    """Drop the change that waits for its payment, if there is one."""
    change = change_rows.pending(w.rows)
    if change is not None:
        drop(w, change, "canceled", reason)


def _of_invoice(rows: Rows, invoice_id: UUID) -> SubscriptionChange | None:
    change = change_rows.pending(rows)
    return change if change is not None and change.invoice_id == invoice_id else None


def _card(w: Work[SubscriptionFacts], paying: Paying) -> UUID:
    """Return the named card, else the one that pays the subscription, even if it is the backup."""
    if paying.method_id is None:
        own, currency = subscription_of(w).payment_method_id, subscription_of(w).currency
        card = card_choice.fit_card(w.rows, own, currency)
    else:
        card = payments.named_card(w.rows, paying.method_id)
    if card is None:
        raise Conflict("PAYMENT_METHOD_REQUIRED")
    return card_rules.demand_fits(card, subscription_of(w).currency).id


_APPLY: Final = {"resume": _resume, "plan": _change_plan, "add_ons": _change_add_ons}
"""By kind, the effect of a change that was charged first."""
