"""Changes that are charged first: the draft is paid, then the change is applied. Pure.

These are an increase of an add-on, a change of plan and a resumption; a subscription has one such
change at a time. Changes of plan and add-ons, and a pause, may also be scheduled for the end of the
period.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from billing.core.errors import Conflict
from billing.core.periods import Interval
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
from billing.money.subscriptions.endings import early, pauses
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import cycles, items, rollover, spans, true_ups
from billing.money.subscriptions.schemas import (
    ChangeKind,
    ChangeStatus,
    PauseReason,
    Paying,
    Subscription,
    SubscriptionChange,
    Terms,
)
from billing.money.subscriptions.terms import agreements, new_terms

WAITS: Final = timedelta(hours=23)
BEFORE_PERIOD_END: Final = timedelta(hours=1)
OTHER_PLAN: Final = "another plan was chosen"
OTHER_ADD_ONS: Final = "other add-ons were chosen"


def pending(rows: Rows) -> SubscriptionChange | None:
    """Return the change that waits for its payment."""
    found = (one for one in rows.of(SubscriptionChange) if one.status == "pending")
    return next(found, None)


def demand_none(rows: Rows) -> None:
    """Raise CHANGE_PENDING if a change waits for its payment."""
    if pending(rows) is not None:
        raise Conflict("CHANGE_PENDING")


def demand_no_resumption(rows: Rows) -> None:
    """Raise CHANGE_PENDING if a resumption waits for its payment: what was scheduled is charged
    with it.
    """
    change = pending(rows)
    if change is not None and change.kind == "resume":
        raise Conflict("CHANGE_PENDING")


def demand_whole_rest(subscription: Subscription) -> None:
    """Raise SUBSCRIPTION_STATE if an end at a date comes before the period's end: the change would
    charge time that is never served.
    """
    end = subscription.cancel_at
    if end is not None and end < subscription.current_period_end:
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "the subscription ends within this period; reactivate it first",
            state=subscription.status,
        )


def demand_a_day(after: Subscription, instead: str = "reactivate it first") -> None:
    """Raise SUBSCRIPTION_STATE if an end at a date leaves a new period, or the last one that is
    counted from it, less than a day.
    """
    end, length = after.cancel_at, after.current_period_end - after.current_period_start
    if end is not None and (length < spans.SHORTEST or spans.refusal_of_end(after, end)):
        raise Conflict(
            "SUBSCRIPTION_STATE",
            f"the subscription's last period would be shorter than a day; {instead}",
            state=after.status,
        )


def demand_last_day(
    subscription: Subscription, interval: Interval, instead: str = "reactivate it first"
) -> None:
    """Raise SUBSCRIPTION_STATE likewise for later periods counted by another interval."""
    s, fields = subscription, spans.after_this(subscription, interval)
    if fields and s.cancel_at is not None and s.cancel_at > s.current_period_end:
        number = {"interval_unit": interval.unit, "interval_count": interval.count}
        start, after = s.current_period_end, s.model_copy(update=fields | number)
        _, end = spans.next_period(after)
        period = {"current_period_start": start, "current_period_end": end}
        demand_a_day(after.model_copy(update=period), instead)


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
    barred card, CURRENCY_NOT_CHARGED for a bank account in another currency.
    """
    subscription, at = cycles.of(w), w.facts.at
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
    _write(
        w, paying.change_id, kind, wanted, terms,
        status="pending", invoice_id=invoice.id, expires_at=min(at + WAITS, last),
    )  # fmt: skip
    money = {"amount_cents": invoice.amount_due_minor, "currency": subscription.currency}
    announce(w, subscription, "change_begun", kind=kind, wanted=wanted, **money)
    if invoices.is_collectable(invoice) and not by_transfer:
        flow, method_id = ("card", None) if paying.by_card else ("saved_card", _card(w, paying))
        payments.open_flow(w, Owed(w.rows, invoice.id), flow, method_id)
    return invoice


def _write(
    w: Work[SubscriptionFacts], change_id: UUID, kind: ChangeKind, wanted: dict[str, Any],
    terms: Terms | None, *, status: ChangeStatus, invoice_id: UUID | None = None,
    expires_at: datetime | None = None, effective_at: datetime | None = None,
) -> None:  # fmt: skip
    """Write a change: one that is charged has an invoice, one that is scheduled its instant."""
    subscription = cycles.of(w)
    change = SubscriptionChange(
        id=change_id,
        account_id=subscription.account_id,
        subscription_id=subscription.id,
        kind=kind,
        wanted=wanted,
        terms=terms.model_dump(mode="json") if terms is not None else {},
        created_at=w.facts.at,
        status=status,
        invoice_id=invoice_id,
        expires_at=expires_at,
        effective_at=effective_at,
    )
    w.add(change)


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


def _resume(w: Work[SubscriptionFacts], _: SubscriptionChange, invoice: Invoice) -> None:
    take_waiting(w, invoice.period_start or w.facts.at)
    pauses.resume(w, invoice)
    agreements.begin(w)


def _change_plan(w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice) -> None:
    cancel_scheduled(w, OTHER_PLAN, "plan")
    if "add_ons" in change.wanted:
        cancel_scheduled(w, OTHER_ADD_ONS, "add_ons")
    before, begins = cycles.of(w).price_id, invoice.period_start
    if begins is not None:
        agreements.pay(w, begins)
    new_terms.begin(w, change, invoice)
    if begins is not None:
        agreements.begin(w)
    drop_price_after(w, before)
    follow_period(w)
    announce(w, cycles.of(w), "plan_changed", **change.wanted)


def _change_add_ons(
    w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice
) -> None:
    cancel_scheduled(w, OTHER_ADD_ONS, "add_ons")
    new_terms.take_add_ons(w, change, invoice)
    announce(w, cycles.of(w), "add_ons_chosen", add_ons=change.wanted)


def scheduled(rows: Rows, kind: ChangeKind) -> SubscriptionChange | None:
    """Return the change of this kind that comes with the end of the period."""
    return next((one for one in rows.of(SubscriptionChange) if one.is_scheduled(kind)), None)


def schedule(
    w: Work[SubscriptionFacts],
    change_id: UUID,
    kind: ChangeKind,
    wanted: dict[str, Any],
    terms: Terms | None = None,
) -> None:
    """Schedule a change for the end of the period; it replaces one of its kind.

    Errors: SUBSCRIPTION_STATE if the subscription ends then.
    """
    subscription = cycles.of(w)
    if subscription.ends_with_period and kind != "price":
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "the subscription ends with its period; reactivate it first",
            state=subscription.status,
        )
    cancel_scheduled(w, "another one was chosen", kind)
    comes_at = subscription.current_period_end
    _write(w, change_id, kind, wanted, terms, status="scheduled", effective_at=comes_at)
    _follow_seats(w)
    rollover.follow(w)  # a pause ends the rollover of credits
    currency = subscription.currency
    announce(w, subscription, "change_scheduled", kind=kind, wanted=wanted, currency=currency)


def apply_scheduled(w: Work[SubscriptionFacts]) -> None:
    """Apply the changes scheduled for the period that begins."""
    change, before = _take_scheduled(w, "plan"), cycles.of(w).price_id
    if change is not None:
        new_terms.take_for_next_period(w, change.new_terms)
        announce(w, cycles.of(w), "plan_changed", **change.wanted)
    drop_price_after(w, before)
    price = _take_scheduled(w, "price")
    if price is not None:
        terms = price.new_terms
        new_terms.take_for_next_period(w, terms)
        shown = shown_price(terms) | {"currency": cycles.of(w).currency}
        announce(w, cycles.of(w), "price_changed", **shown)
    chosen = _take_scheduled(w, "add_ons")
    if chosen is not None:
        plan, interval = w.facts.plan_of(w.rows), cycles.of(w).interval
        items.choose(w, items.sold(w, plan, interval, chosen.wanted), fewer_now=True)
        announce(w, cycles.of(w), "add_ons_chosen", add_ons=chosen.wanted)


def coming(w: Work[SubscriptionFacts], at: datetime) -> Work[SubscriptionFacts]:
    """Return the rows that a period from an instant on begins with, as a copy: a resumption is
    charged for them first.
    """
    after = Work(w.rows.copy(), w.facts)
    take_waiting(after, at)
    return after


def take_waiting(w: Work[SubscriptionFacts], at: datetime) -> None:
    """Take what waits for a period that begins then: the scheduled changes, and the contract in
    force.
    """
    apply_scheduled(w)
    agreements.sell(w, at)


def drop_price_after(w: Work[SubscriptionFacts], before: UUID) -> None:
    """Cancel a scheduled move from the old price if another price was chosen; else it is that of
    the seats of now.
    """
    if cycles.of(w).price_id != before:
        cancel_scheduled(w, OTHER_PLAN, "price")
    _follow_seats(w)


def shown_price(terms: Terms) -> dict[str, Any]:
    """Return a price that comes, as callers see it."""
    return {"price_cents": terms.amount_minor}


def _follow_seats(w: Work[SubscriptionFacts]) -> None:
    """Have a scheduled move to another price count the seats that there are then."""
    move, chosen = scheduled(w.rows, "price"), scheduled(w.rows, "plan")
    if move is None:
        return
    seats = items.plan_item(w).quantity
    if chosen is not None:
        wanted = chosen.new_terms
        # Another price that was chosen cancels the move.
        seats = wanted.quantity if wanted.price_id == cycles.of(w).price_id else seats
    terms = move.new_terms.model_copy(update={"quantity": seats})
    if shown_price(terms) != move.wanted:
        w.change(move, terms=terms.model_dump(mode="json"), wanted=shown_price(terms))


def pause(w: Work[SubscriptionFacts]) -> None:
    """Begin the requested pause: credit owed time not served, bill use until now."""
    early.take_back_unserved(w, "paused")
    closing = true_ups.closing(w, "a pause")
    begin_pause(w, "requested")
    pauses.bill_use(w, closing)


def begin_pause(w: Work[SubscriptionFacts], reason: PauseReason) -> None:
    """Pause from now on; a scheduled pause counts as applied."""
    _take_scheduled(w, "pause")
    pauses.pause(w, reason)


def _take_scheduled(w: Work[SubscriptionFacts], kind: ChangeKind) -> SubscriptionChange | None:
    change = scheduled(w.rows, kind)
    return w.change(change, status="applied", decided_at=w.facts.at) if change else None


def follow_period(w: Work[SubscriptionFacts]) -> None:
    """Move scheduled changes to the period's new end, with the coupons that came with them."""
    end = cycles.of(w).current_period_end
    for change in w.rows.of(SubscriptionChange):
        if change.status == "scheduled" and change.effective_at is not None:
            discounts.put_off(w, change.effective_at, end)
            w.change(change, effective_at=end)


def cancel_scheduled(w: Work[SubscriptionFacts], reason: str, *kinds: ChangeKind) -> None:
    """Cancel scheduled changes of these kinds, or of any."""
    for change in w.rows.of(SubscriptionChange):
        if change.status == "scheduled" and change.kind in (kinds or (change.kind,)):
            w.change(change, status="canceled", reason=reason, decided_at=w.facts.at)
            announce(w, cycles.of(w), "change_dropped", kind=change.kind, reason=reason)
            rollover.follow(w)
    _follow_seats(w)


def confirm_coupon(w: Work[SubscriptionFacts], since: datetime) -> None:
    """Confirm the coupon of a change that was applied, or that needs no payment and comes then."""
    for one in w.rows.of(Discount):
        if one.status == "reserved":
            announce(w, cycles.of(w), "coupon_redeemed", code=one.code)
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
    announce(w, cycles.of(w), "change_dropped", kind=change.kind, reason=reason)


def drop_pending(w: Work[SubscriptionFacts], reason: str) -> None:
    """Drop the change that waits for its payment, if there is one."""
    change = pending(w.rows)
    if change is not None:
        drop(w, change, "canceled", reason)


def _of_invoice(rows: Rows, invoice_id: UUID) -> SubscriptionChange | None:
    change = pending(rows)
    return change if change is not None and change.invoice_id == invoice_id else None


def _card(w: Work[SubscriptionFacts], paying: Paying) -> UUID:
    """Return the named card, else the one that pays the subscription, even if it is the backup."""
    if paying.method_id is None:
        own, currency = cycles.of(w).payment_method_id, cycles.of(w).currency
        card = card_choice.fit_card(w.rows, own, currency)
    else:
        card = payments.named_card(w.rows, paying.method_id)
    if card is None:
        raise Conflict("PAYMENT_METHOD_REQUIRED")
    return card_rules.demand_able(card, cycles.of(w).currency).id


_APPLY: Final = {"resume": _resume, "plan": _change_plan, "add_ons": _change_add_ons}
"""By kind, the effect of a change that was charged first."""
