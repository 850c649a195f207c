"""Commands of customers and operators on a running subscription: decisions over its rows. Pure."""

from collections import Counter
from datetime import datetime
from uuid import UUID

from billing.core.errors import Conflict, wrong_field
from billing.matters.agenda import head
from billing.matters.effects import Bear, Wake, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.invoices import transitions as invoices
from billing.money.payments import card_rules
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import LIVE, Payment
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.endings import pauses, rest_refunds, unserved_time
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    agreed_limits,
    cycles,
    granting,
    invoicing,
    items,
    spans,
)
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.schemas import (
    CancelReason,
    ChangeKind,
    Paying,
    Rest,
    Subscription,
    SubscriptionChange,
    When,
)
from billing.money.subscriptions.states import demand
from billing.money.subscriptions.terms import change_rows, changes, end_dates, new_terms, scheduling
from billing.money.subscriptions.views import view


def begin(w: Work[SubscriptionFacts], *, method_id: UUID | None, use_balance: bool = True) -> Bear:
    """Begin a subscription just written: grant its trial's credits, or draft its first invoice."""
    subscription = subscription_of(w)
    announce(w, subscription, "created", **items.told(w))
    if subscription.status == "trialing":
        agreed_limits.align(w, None, subscription)
        granting.grant_cycle(w)
    else:
        _bill_first(w, method_id, use_balance=use_balance)
    state = view(w.rows, w.facts)
    born = Bear(
        SUBSCRIPTION, subscription.account_id, subscription.id, head(agenda(state)),
        state.status, state.plan,
    )  # fmt: skip
    w.do(born)
    return born


def supersede(w: Work[SubscriptionFacts]) -> bool:
    """Mark an incomplete subscription to be given up; its own workflow asks the provider first.

    Errors: PAYMENT_PENDING while the bank decides on its first payment.
    """
    if subscription_of(w).status != "incomplete":
        return False
    if any(one.status == "processing" for one in w.rows.of(Payment)):
        raise Conflict(
            "PAYMENT_PENDING",
            "the bank is processing the previous subscription's first payment: wait for the"
            " result, or cancel that subscription",
        )
    for one in w.rows.of(Payment):
        if one.status in LIVE:
            w.change(one, superseded_at=w.facts.at)
    cycles.change(w, superseded_at=w.facts.at)
    wake(w)
    return True


def cancel(
    w: Work[SubscriptionFacts],
    *,
    now: bool,
    date: datetime | None = None,
    reason: CancelReason | None = None,
    comment: str | None = None,
    rest: Rest = "none",
    as_of: datetime | None = None,
) -> Subscription:
    """Cancel at period end, at a date, or now; unpaid service is still collected [C5].

    The customer may give a reason. `rest` says where money paid for unused time goes; `as_of` is
    the instant of a preview that counts it. Errors: SUBSCRIPTION_STATE, also once a scheduled end
    has come, or for a date that leaves less than a day of the interval that is scheduled;
    VALIDATION_FAILED for a date in the past, or one that would cut a period again or to less than a
    day; CREDITS_SPENT, PAYMENT_PENDING.
    """
    at = w.facts.at
    demand(subscription_of(w).status, "cancel")
    said = {"cancel_reason": reason, "cancel_comment": comment}
    if told := {name: words for name, words in said.items() if words is not None}:
        cycles.change(w, **told)  # what was said before stays
    subscription = subscription_of(w)
    if subscription.status == "incomplete":
        cycles.change(w, canceled_at=at)
        payment_effects.end_incomplete(w)
    elif now or subscription.status in ("paused", "unpaid"):
        _end_now(w, rest, as_of)
    else:
        _schedule_end(w, date)
    return wake(w)


def _end_now(w: Work[SubscriptionFacts], rest: Rest, as_of: datetime | None) -> None:
    reason, credited = "canceled by request", Counter[UUID]()
    if rest != "none":
        # Its draft credits the rest too, so it must be void first.
        changes.drop_pending(w, reason)
        before = len(w.effects)
        unserved_time.credit_rest(w, reason, as_of)
        credited = rest_refunds.credited_since(w, before)
    payment_effects.end(w, reason, as_of)
    if rest == "refund":
        # The use billed with the end is paid from the credit first.
        rest_refunds.to_payers(w, credited)


def _schedule_end(w: Work[SubscriptionFacts], date: datetime | None) -> None:
    """Schedule the end, at a date or with the period. Drop a pending change, a scheduled pause, and
    changes scheduled for a period that will not come.

    An operator's move of the price stays, because the end may be canceled.
    """
    _demand_end_to_come(w)
    if date is not None and date <= w.facts.at:
        raise wrong_field("cancel_at", "must be in the future")
    if date is not None and (why := spans.refusal_of_end(subscription_of(w), date)):
        raise wrong_field("cancel_at", why)
    changed = cycles.change(
        w, cancel_at_period_end=date is None, cancel_at=date, canceled_at=w.facts.at
    )
    if (coming := change_rows.scheduled(w.rows, "plan")) is not None:
        interval = coming.new_terms.interval
        end_dates.demand_last_day(changed, interval, "end it at another date")
    changes.drop_pending(w, "an end was asked for")
    gone: tuple[ChangeKind, ...] = ("plan", "add_ons") if changed.ends_with_period else ()
    scheduling.cancel(w, "an end was asked for", "pause", *gone)
    if date is None:
        announce(w, changed, "cancel_scheduled")
    else:
        announce(w, changed, "end_scheduled", cancel_at=date.isoformat())


def _demand_end_to_come(w: Work[SubscriptionFacts]) -> None:
    """Raise SUBSCRIPTION_STATE once the scheduled end has come, also before its step is done."""
    end = subscription_of(w).ends_at
    if end is not None and end <= w.facts.at:
        raise Conflict("SUBSCRIPTION_STATE", "its end has come", state=subscription_of(w).status)


def reactivate(w: Work[SubscriptionFacts]) -> Subscription:
    """Cancel a scheduled end, before it comes [C7]."""
    subscription = subscription_of(w)
    demand(subscription.status, "reactivate")
    if not subscription.ends:
        raise Conflict("SUBSCRIPTION_STATE", "no end is scheduled", state=subscription.status)
    _demand_end_to_come(w)
    changed = cycles.change(
        w,
        cancel_at_period_end=False,
        cancel_at=None,
        canceled_at=None,
        cancel_reason=None,
        cancel_comment=None,
    )
    announce(w, changed, "reactivated")
    return wake(w)


def pause(w: Work[SubscriptionFacts], *, when: When) -> Subscription:
    """Pause with the period's end, or now; a pause now credits nothing that is paid.

    Use until then is billed; unpaid charges for time not served are credited. Errors:
    SUBSCRIPTION_STATE, also if an end is scheduled; CHANGE_PENDING.
    """
    subscription = subscription_of(w)
    demand(subscription.status, "pause")
    if subscription.ends:
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "an end is scheduled; reactivate it first",
            state=subscription.status,
        )
    if when == "period_end":
        if change_rows.scheduled(w.rows, "pause") is None:
            scheduling.schedule(w, w.facts.new_id(), "pause", {})
        return wake(w)
    change_rows.demand_none(w.rows)
    scheduling.pause(w)
    return wake(w)


def resume(w: Work[SubscriptionFacts], paying: Paying) -> Subscription:
    """Start again after a pause, with a new period from now that is charged first.

    A customer who pays by transfer has it at once, and pays it later. Errors: SUBSCRIPTION_STATE,
    PAYMENT_OVERDUE, CHANGE_PENDING; those of `changes.begin`.
    """
    demand(subscription_of(w).status, "resume")
    if payment_effects.overdue(w):
        raise Conflict("PAYMENT_OVERDUE", state="paused")
    change_rows.demand_none(w.rows)
    pauses.demand_next_second(w, w.facts.at)
    coming = scheduling.coming(w, w.facts.at)
    begun = pauses.begun_now(coming)
    end_dates.demand_a_day(begun, "resume it on another day")
    invoice = pauses.draft(w, paying.change_id, coming)
    terms = new_terms.of_now(coming).model_copy(
        update={"cycle_start": subscription_of(w).cycle_start, "zone": begun.zone}
    )
    invoice = changes.begin(w, "resume", {}, invoice, paying, terms)
    payment_effects.settle_change(w, invoice, paying, subscription_of(coming))
    return wake(w)


def call_off(w: Work[SubscriptionFacts], *, change_id: UUID) -> Subscription:
    """Cancel a scheduled change; one that was canceled before stays so. Errors: CHANGE_PENDING."""
    change = w.rows.find(SubscriptionChange, change_id)
    if change is not None:
        change_rows.demand_no_resumption(w.rows)
        scheduling.cancel(w, "called off", change.kind)
    return wake(w)


def choose_card(w: Work[SubscriptionFacts], *, method_id: UUID | None) -> Subscription:
    """Set the card for later charges, and overdue ones at once; None: the account's default.

    Errors: PAYMENT_METHOD_NOT_FOUND; CARD_DECLINED for a barred card; CURRENCY_NOT_CHARGED for a
    bank account in another currency.
    """
    card = payments.default_card(w.rows)
    if method_id is not None:
        named = payments.named_card(w.rows, method_id)
        card = card_rules.demand_fits(named, subscription_of(w).currency)
    if card is not None:
        w.change(card, chosen_at=w.facts.at)
    announce(w, cycles.change(w, payment_method_id=method_id), "card_chosen")
    return wake(w)


def _bill_first(w: Work[SubscriptionFacts], method_id: UUID | None, *, use_balance: bool) -> None:
    """Draft the first invoice, until it is paid; one that is free or too small activates now.

    The money balance pays first, if it may; a debt on it is charged with what is too small alone.
    """
    invoice = invoicing.draft_period(w)
    if use_balance:
        invoice = invoices.use_balance(w, invoice)
    invoice = invoices.whole_steps(w, invoices.bill_carried(w, invoice))
    if invoices.is_collectable(invoice):
        if subscription_of(w).collection == "send_invoice":
            return  # the payer reports the transfer; until then nothing is collected
        flow = "saved_card" if method_id else "card"
        payments.open_flow(w, Owed(w.rows, invoice.id), flow, method_id)
    else:
        payment_effects.on_paid(w, invoices.finalize(w, invoice, with_debt=False))


def wake(w: Work[SubscriptionFacts]) -> Subscription:
    """Wake the subscription's workflow, and return the subscription as it is now."""
    subscription = subscription_of(w)
    w.do(Wake(SUBSCRIPTION.workflow_id(subscription.id)))
    return subscription
