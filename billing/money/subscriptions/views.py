"""The state of a subscription as its agenda needs it, from the rows. Pure."""

from datetime import datetime, timedelta

from billing.catalog.plans.schemas import Plan
from billing.core import ids, keys, periods
from billing.core.money import show_money
from billing.matters.effects import Rows, Work
from billing.money.collecting import views
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import period_notices
from billing.money.subscriptions.expiring_cards import expiring
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import invoicing, spans
from billing.money.subscriptions.rules import PendingChange, SubscriptionState, words
from billing.money.subscriptions.schemas import CrossedPeriod, Subscription, SubscriptionChange
from billing.money.subscriptions.terms import change_rows
from billing.platform.provider_inbox.rules import waiting_events


def view(rows: Rows, facts: SubscriptionFacts) -> SubscriptionState:
    """The state of the subscription, for its workflow."""
    row = rows.get(Subscription, facts.subscription_id)
    crossed = _crossed(rows, row)
    change, incomplete = change_rows.pending(rows), row.status == "incomplete"
    owed = (
        views.collecting(
            rows,
            invoice,
            pay_first=incomplete or (change is not None and invoice.id == change.draft_id),
            own_card=row.payment_method_id,
        )
        for invoice in invoicing.collected(rows, row)
    )
    state = SubscriptionState(
        clock_at=facts.clock_at,
        status=row.status,
        plan=row.plan_key,
        subscription=ids.encode(ids.SUBSCRIPTION, row.id),
        current_period_end=row.current_period_end,
        cycle_end=row.cycle_end,
        incomplete_expires_at=row.incomplete_expires_at,
        first_period_end=spans.first_payment_until(row) if incomplete else None,
        superseded=row.superseded_at is not None,
        cancel_at_period_end=row.cancel_at_period_end,
        cancel_at=row.cancel_at,
        went_back=facts.period_is_lost,
        pauses=change_rows.scheduled(rows, "pause") is not None,
        commitment_ends_at=row.committed.ends_at if row.committed is not None else None,
        unpaid_until=_unpaid_until(row, facts.plan_of(rows)),
        threshold_at=crossed.threshold_at if crossed is not None else None,
        threshold=_crossing(crossed),
        change=_change(rows, change),
        expiring=expiring(Work(rows, facts)),
        notices=period_notices.to_come(row, facts.plan_of(rows)),
        invoices=tuple(one for one in owed if one is not None),
        events=waiting_events(rows),
    )
    price = show_money(row.amount_minor, row.currency)
    line = words(state, price, facts.plan_of(rows).name, row.zone)
    return state.model_copy(update={"words": line})


def _change(rows: Rows, change: SubscriptionChange | None) -> PendingChange | None:
    if change is None or change.expires_at is None:
        return None
    invoice = rows.find(Invoice, change.invoice_id)
    return PendingChange(
        change=ids.encode(ids.CHANGE, change.id),
        invoice=ids.encode(ids.INVOICE, change.draft_id),
        expires_at=change.expires_at,
        ends_at=invoice.period_end if invoice is not None else None,
    )


def _unpaid_until(row: Subscription, plan: Plan) -> datetime | None:
    if row.status != "unpaid" or row.unpaid_at is None:
        return None
    wall = periods.to_wall(row.unpaid_at, row.zone) + timedelta(days=plan.unpaid_days)
    return periods.from_wall(wall, row.zone)


def _crossed(rows: Rows, row: Subscription) -> CrossedPeriod | None:
    """The open usage period whose use reached the billing threshold."""
    for period in rows.of(CrossedPeriod):
        mine = period.subscription_id == row.id and period.closed_at is None
        if mine and period.threshold_at is not None:
            return period
    return None


def _crossing(period: CrossedPeriod | None) -> str | None:
    if period is None:
        return None
    return f"{keys.stamp(period.start_at)}-{period.threshold_number}"
