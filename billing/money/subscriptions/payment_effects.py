"""Effects of payment on a subscription: paid, unpaid, given up, ended. Pure."""

from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

from billing.catalog.plans.schemas import FinalAction
from billing.core import keys
from billing.matters.effects import Do, Operation, Work
from billing.money.collecting.handing_over import hand_to_collection
from billing.money.discounts import transitions as discounts
from billing.money.dunning import settling
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices import transitions as invoices
from billing.money.invoices.notes import NewNote
from billing.money.invoices.operations import LEAVE_CURRENCY, OfAccount
from billing.money.invoices.schemas import Invoice
from billing.money.payments import transitions as payments
from billing.money.refunds.remaining import creditable
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.endings import unserved_time
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    granting,
    invoicing,
    items,
    proration,
    renewals,
    spans,
    true_ups,
)
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import Paying, Subscription
from billing.money.subscriptions.terms import agreements, changes, scheduling
from billing.money.trials import transitions as trials


class KeptCurrency(TypedDict):
    """An account with the currency that it pays in."""

    account_id: UUID
    currency: str


KEEP_CURRENCY: Final = Operation[KeptCurrency]("keep_currency")
"""The verb that fixes the account's currency again when money is billed after the end."""
NOT_ASKED: Final = "nothing could be asked for the first payment"
"""The end reason if the card was not tried, or the provider did not open the payment."""
UNRECOVERED = ("open", "paused", "exhausted")
"""States of a case whose open invoice is overdue."""


def on_paid(w: Work[SubscriptionFacts], invoice: Invoice) -> None:
    """Apply a paid invoice: its change, its credits, `active` if nothing overdue is left.

    A subscription that has ended does not begin again.
    """
    if subscription_of(w).status in ENDED:
        return
    if subscription_of(w).status == "incomplete":
        _begin(w, invoice)
    change = changes.apply(w, invoice)
    if invoice.took_money:
        trials.convert(w)
    gives = subscription_of(w).status != "paused" and (change is None or change.kind != "plan")
    if gives:
        granting.grant_billed(w, invoice)
    if subscription_of(w).status == "active" and granting.bills_plan(w, invoice):
        granting.grant_unbilled_cycle(w)
    if change is not None and change.kind == "resume" and overdue(w):
        on_unpaid(w)
    recover(w)


def settle_small(w: Work[SubscriptionFacts], invoice: Invoice) -> None:
    """Settle a draft too small for a card at once; one that charges nothing, because its change
    only credits, becomes void and gets no number.
    """
    if not invoices.lines_of(w.rows, invoice.id):
        on_paid(w, invoice)
        invoices.void(w, w.rows.get(Invoice, invoice.id), "nothing is charged")
    elif not invoices.is_collectable(invoice):
        on_paid(w, invoices.finalize(w, invoice, with_debt=False))


def settle_change(
    w: Work[SubscriptionFacts], invoice: Invoice, paying: Paying, after: Subscription | None = None
) -> None:
    """Apply the change at once for a customer who pays by transfer; else settle a small draft.

    `after`: the subscription as the change leaves it, if that alters how it is paid.
    """
    if invoice.collection == "send_invoice" and invoices.is_collectable(invoice):
        days = (after or subscription_of(w)).days_until_due or 0
        use_balance = paying.use_balance
        sent = invoices.finalize(w, invoice, days_until_due=days, use_balance=use_balance)
        change = changes.apply(w, sent)
        if w.facts.credits_at_start and change is not None and change.kind == "resume":
            granting.grant_cycle(w)
    else:
        settle_small(w, invoice)


def recover(w: Work[SubscriptionFacts]) -> None:
    """Once nothing is overdue: `active` in the period that was billed, `paused` after it.

    Nothing is charged. A scheduled end stays, and happens at once if its period is over. A debt
    given up while `unpaid` is not settled: the status stays.
    """
    subscription = subscription_of(w)
    if subscription.status not in ("past_due", "unpaid") or overdue(w) or _is_written_off(w):
        return
    if subscription.status == "past_due" or invoicing.is_billed(w):
        cycles.change(w, unpaid_at=None, unserved_since=None)
        _activate(w)
        granting.grant_unbilled_cycle(w)
    elif subscription.cancel_at_period_end:
        end(w, "canceled at period end")
    else:
        changes.drop_pending(w, "the period is over")
        true_ups.put_off(w, true_ups.closing(w))  # its renewal may not have come yet
        scheduling.begin_pause(w, "debt_settled")


def _is_written_off(w: Work[SubscriptionFacts]) -> bool:
    """True while `unpaid` if a debt was given up since then and is still not paid."""
    subscription = subscription_of(w)
    since = subscription.unpaid_at
    if subscription.status != "unpaid" or since is None:
        return False
    gone = {one.id for one in invoicing.collected(w.rows, subscription, ("uncollectible",))}
    closed = (one.closed_at for one in w.rows.of(DunningCase) if one.invoice_id in gone)
    return any(at is not None and at >= since for at in closed)


def on_unpaid(w: Work[SubscriptionFacts]) -> None:
    """Set `past_due` after a failed charge, while its case tries to recover it."""
    if subscription_of(w).status == "active":
        announce(w, cycles.change(w, status="past_due"), "past_due")


def on_given_up(w: Work[SubscriptionFacts], invoice_id: UUID, action: FinalAction) -> None:
    """Apply the final action of a case: unpaid | cancel | uncollectible (docs/rules/dunning.md)."""
    match action:
        case "uncollectible":
            recover(w)
        case "cancel":
            end(w, "dunning exhausted")
            invoice = w.rows.get(Invoice, invoice_id)
            if invoice.status == "uncollectible":  # no note has settled it
                invoices.mark_uncollectible(w, invoice)
        case "unpaid":
            if subscription_of(w).status == "paused":
                return  # what is owed stays owed; no period runs that could stay unpaid
            begin_unpaid(w)


def begin_unpaid(w: Work[SubscriptionFacts]) -> None:
    """Stop serving the subscription. The time that counts as used is stored now, because a cycle's
    use cannot be read once the cycle is over.
    """
    subscription = subscription_of(w)
    unpaid = cycles.change(
        w,
        status="unpaid",
        unpaid_at=subscription.unpaid_since or w.facts.at,
        unserved_since=subscription.served_until or unserved_time.spent_until(w),
    )
    announce(w, unpaid, "unpaid")


def end(
    w: Work[SubscriptionFacts],
    reason: str,
    as_of: datetime | None = None,
    *,
    money_went_back: bool = False,
) -> None:
    """Cancel for good: void drafts, credit time not served, hand open invoices to Collection.

    Minimums and time not served are counted up to now, or up to a preview's instant. Uncollectible
    invoices stay so. A final invoice bills overage and carried debts [C5].
    """
    changes.drop_pending(w, reason)
    scheduling.cancel(w, reason)
    closing = true_ups.closing(w, "an end", as_of)
    subscription, at = subscription_of(w), w.facts.at
    ended = cycles.change(
        w,
        status="canceled",
        canceled_at=subscription.canceled_at or at,
        ended_at=at,
        unserved_since=subscription.served_until,
        end_reason=reason,
        money_went_back=money_went_back,
    )
    announce(w, ended, "canceled", reason=reason)
    for draft in invoicing.collected(w.rows, subscription, ("draft",)):
        invoices.void(w, draft, reason)
    unserved_time.take_back_unserved(w, reason, as_of=as_of)
    for owed in invoicing.collected(w.rows, subscription, ("open",)):
        hand_to_collection(w, owed)
    key = keys.final(cycles.stem(ended))
    final = invoicing.bill_usage(w, key, invoicing.END, closing=closing)
    if final is not None and final.status == "open":
        hand_to_collection(w, final)
    discounts.end(w)
    leave_currency(w)


def bill_late(w: Work[SubscriptionFacts]) -> None:
    """Write a supplementary invoice for use that arrived after the end, for Collection."""
    key = keys.late_usage(cycles.stem(subscription_of(w)), w.facts.at)
    invoice = invoicing.bill_usage(w, key, invoicing.LATE)
    if invoice is not None and invoice.total_minor:
        kept = KeptCurrency(account_id=invoice.account_id, currency=invoice.currency)
        w.do(Do(KEEP_CURRENCY, kept))
    if invoice is not None and invoice.status == "open":
        hand_to_collection(w, invoice)


def end_incomplete(w: Work[SubscriptionFacts], why: str = "first payment never came") -> str:
    """End an `incomplete` subscription and return its new status.

    Its draft is void at once. The provider is asked next to cancel an open payment, and money that
    arrives anyway goes back to the payer.
    """
    subscription, at = subscription_of(w), w.facts.at
    asked = subscription.canceled_at is not None
    status = "canceled" if asked else "incomplete_expired"
    reason = "canceled by request" if asked else why
    announce(w, cycles.change(w, status=status, ended_at=at, end_reason=reason), status)
    for invoice in invoicing.collected(w.rows, subscription, ("draft",)):
        payments.close_submissions(w, invoice.id)
        invoices.void(w, invoice, status)
    discounts.release(w)
    leave_currency(w)
    return status


def leave_currency(w: Work[SubscriptionFacts]) -> None:
    """Unset the account's currency if no invoice of the subscription had money in it; the verb
    keeps it if anything else of the account fixes it.
    """
    asked = (one for one in w.rows.of(Invoice) if one.status not in ("draft", "void"))
    if not any(one.total_minor for one in asked):
        left = OfAccount(account_id=subscription_of(w).account_id)
        w.do(Do(LEAVE_CURRENCY, left))


def _begin(w: Work[SubscriptionFacts], invoice: Invoice) -> None:
    """Begin the subscription whose first payment this is."""
    if w.facts.at < subscription_of(w).current_period_end:
        _activate(w)
        discounts.confirm(w)
    else:
        _begin_late(w, invoice)


def _begin_late(w: Work[SubscriptionFacts], invoice: Invoice) -> None:
    """Begin, for a transfer that came after its period, with the period that runs now.

    Nothing of its own was served: all of it goes to the money balance, and pays for the other one
    first. Its cycle is over, so that whoever applies this payment grants nothing for it.
    """
    _begin_running(w)
    discounts.confirm(w)
    amount_minor = creditable(w.rows, invoice)
    note = NewNote("unserved", amount_minor, proration.NOT_SERVED, "not-begun")
    settling.credit_note(w, invoice, note)
    lines = invoices.lines_of(w.rows, invoice.id)
    discounts.give_back_use(w, {off["code"] for line in lines for off in line.discounts})
    billed = invoicing.issue(w, invoicing.draft_period(w))
    if w.facts.credits_at_start:
        granting.grant_cycle(w)
    if billed.status == "paid":
        on_paid(w, billed)


def _begin_running(w: Work[SubscriptionFacts]) -> None:
    """Begin the period that runs now, in the zone that its renewal would begin it in, and under the
    contract in force.
    """
    cycles.change(w, **spans.waited(subscription_of(w), w.facts.at))
    renewals.follow_zone(w)
    scheduling.take_waiting(w, w.facts.at)
    allowance = w.facts.plan_of(w.rows).allowance
    _activate(w, **spans.running(subscription_of(w), w.facts.at, allowance))
    agreements.begin_late(w)
    announce(w, subscription_of(w), "restarted", **items.told(w))


def _activate(w: Work[SubscriptionFacts], **fields: Any) -> None:
    before = subscription_of(w).status
    active = cycles.change(w, status="active", incomplete_expires_at=None, **fields)
    announce(w, active, "activated", before=before, **items.told(w))


def overdue(w: Work[SubscriptionFacts]) -> bool:
    """True if an open invoice has failed to be collected."""
    failed = {one.invoice_id for one in w.rows.of(DunningCase) if one.status in UNRECOVERED}
    owed = invoicing.collected(w.rows, subscription_of(w), ("open",))
    return any(one.id in failed for one in owed)
