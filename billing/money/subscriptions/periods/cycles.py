"""Effects of time on a subscription: periods, invoices, credits of cycles. Pure.

Each function returns the rows as they are afterwards.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from billing.catalog.plans.schemas import Plan
from billing.core import ids, periods
from billing.core.currencies import collectable
from billing.core.money import show_decimal
from billing.matters.effects import Do, Rows, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.discounts import transitions as discounts
from billing.money.invoices import arrears
from billing.money.invoices import transitions as invoices
from billing.money.invoices.rules import payment_reference
from billing.money.invoices.schemas import Invoice, Line, NewInvoice
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import (
    agreed_limits,
    items,
    proration,
    rollover,
    spans,
    true_ups,
)
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import CrossedPeriod, Item, Subscription

FOLLOWED: Final = frozenset({"status", "plan_id", "amount_minor", "cycle_start", "cycle_end"})
"""Fields that the account's usage period follows."""


def follow_zone(w: Work[SubscriptionFacts]) -> None:
    """Apply a new zone of the account from the next period on.

    The zone waits while a later instant is agreed by the calendar of the previous one.
    """
    subscription, zone = of(w), w.facts.account_zone
    if zone is None or zone == subscription.zone or _is_agreed_ahead(w, subscription):
        return
    fields = spans.in_zone(subscription, zone)
    if fields is not None and not _is_same_month(subscription, zone):
        change(w, **fields)


def _is_same_month(s: Subscription, zone: str) -> bool:
    """True if a free plan's next period would begin, in that zone, in the month of this one: a free
    plan grants its credits once a month, and that month's are granted.
    """
    first, then = (
        periods.to_wall(at, where)
        for at, where in ((s.cycle_start, s.zone), (s.current_period_end, zone))
    )
    return not s.amount_minor and (first.year, first.month) == (then.year, then.month)


def _is_agreed_ahead(w: Work[SubscriptionFacts], s: Subscription) -> bool:
    """True if a contract begins or ends, a commitment or the subscription ends, after this period.

    In another zone such an instant could lie within a period: it would cut that short, or be
    missed.
    """
    contracts = w.facts.contracts
    agreed = {
        s.cancel_at,
        *(at for one in contracts for at in (one.effective_from, one.effective_to)),
    }
    if s.committed is not None:
        agreed.add(s.committed.ends_at)
    return any(at is not None and at > s.current_period_end for at in agreed)


def renew(
    w: Work[SubscriptionFacts], closing: true_ups.Closing | None
) -> tuple[Subscription, Invoice]:
    """Begin the next period: invoice, period and cycle move at once [C11]. `closing` is the old
    one.

    While `unpaid` the invoice stays a draft. After an outage of more than one period the charge is
    held for an operator (docs/rules.md#time).
    """
    subscription = of(w)
    start = subscription.current_period_end
    number, end = spans.next_period(subscription)
    is_charged = subscription.collection != "send_invoice"
    held = is_charged and (end <= w.facts.at or _in_burst(w, subscription))
    since = subscription.unpaid_at
    if subscription.status == "unpaid" and since is None:
        since = w.facts.at  # the previous release did not record it
    items.turn(w)
    moved = change(
        w,
        status="active" if subscription.status == "trialing" else subscription.status,
        period_number=number,
        current_period_start=start,
        current_period_end=end,
        cycle_start=start,
        cycle_end=spans.cycle_end(subscription, w.facts.plan_of(w.rows).allowance, start, end),
        unpaid_at=since,
    )
    announce(w, moved, "renewed", period_start=start.isoformat())
    invoice = draft_period(w, held=held, closing=closing)
    if moved.status != "unpaid":
        invoice = issue(w, invoice)
    return moved, invoice


def is_billed(w: Work[SubscriptionFacts]) -> bool:
    """True if the current period has not ended, and more than a draft bills it."""
    subscription = of(w)
    start = subscription.current_period_start
    drafted = any(one.period_start == start for one in collected(w.rows, subscription, ("draft",)))
    return not drafted and w.facts.at < subscription.current_period_end


def issue(w: Work[SubscriptionFacts], draft: Invoice) -> Invoice:
    """Finalize a draft; a customer who pays by transfer has some days for it."""
    return invoices.finalize(w, draft, days_until_due=of(w).days_until_due or 0)


def draft_period(
    w: Work[SubscriptionFacts], *, held: bool = False, closing: true_ups.Closing | None = None
) -> Invoice:
    """Draft the current period's invoice, once per period start: each item in advance, usage of
    earlier cycles in arrears.

    A draft before the first payment, or while `unpaid`, may never be finalized: it has no usage and
    no minimums, which go onto the next one.
    """
    subscription = of(w)
    used: tuple[Line, ...] = ()
    if subscription.status not in ("incomplete", "unpaid"):
        used = _usage(w, before=subscription.cycle_start)
    else:
        true_ups.put_off(w, closing)
        closing = None
    fields: dict[str, Any] = dict(spans.fields(subscription))
    if held:
        fields["collection"] = "held"
    lines = (*(line_of(w, item, subscription) for item in w.rows.of(Item)), *used)
    new = new_invoice(w, _period_key(subscription), lines, **fields)
    invoice = invoices.draft(w, true_ups.with_least(w, closing, new))
    _complete_records(w, invoice, used)
    return invoice


def bill_usage(
    w: Work[SubscriptionFacts],
    key: str,
    *,
    before: datetime | None = None,
    debts: bool = False,
    early: bool = False,
    ends: bool = False,
    closing: true_ups.Closing | None = None,
    begun: datetime | None = None,
    more: Sequence[Line] = (),
) -> Invoice | None:
    """Invoice overage that no period's invoice bills, once per key; None if nothing is owed.

    Bills cycles that began `before`, or all. `debts`: also without usage, if a card can be charged
    for the debt on the money balance. `early`: the open cycle continues, and its close bills the
    rest; `ends`: nothing more is used in it. `begun`: the start of the period, if another one runs.
    """
    used = _usage(w, before=before, early=early, ends=ends)
    new = true_ups.with_least(w, closing, new_invoice(w, key, (*more, *used), begun=begun))
    if not new.lines and not (debts and _carries_debt(w)):
        return None
    invoice = invoices.draft(w, new)
    _complete_records(w, invoice, used)
    return issue(w, invoice)


def bill(w: Work[SubscriptionFacts], key: str, lines: Sequence[Line]) -> Invoice:
    """Invoice these lines on their own, once per key."""
    return issue(w, invoices.draft(w, new_invoice(w, key, lines)))


def draft_change(
    w: Work[SubscriptionFacts],
    change_id: UUID,
    lines: Sequence[Line],
    sold: Plan,
    /,
    **fields: Any,
) -> Invoice:
    """Draft the invoice to be paid before a change is applied; only the change refers to it."""
    return invoices.draft(w, invoice_of_change(w, change_id, lines, sold, **fields))


def invoice_of_change(
    w: Work[SubscriptionFacts],
    change_id: UUID,
    lines: Sequence[Line],
    sold: Plan,
    /,
    **fields: Any,
) -> NewInvoice:
    """Return that invoice, to draft."""
    key = f"{stem(of(w))}/{ids.encode(ids.CHANGE, change_id)}"
    return new_invoice(w, key, lines, sold, **fields)


def of(w: Work[SubscriptionFacts]) -> Subscription:
    """Return the subscription as it is now."""
    return w.rows.get(Subscription, w.facts.subscription_id)


def change(w: Work[SubscriptionFacts], **fields: Any) -> Subscription:
    """Overwrite fields of the subscription; the account's usage period and rollover follow."""
    before = of(w)
    changed = w.change(before, **fields, updated_at=w.facts.at)
    if (changed.cycle_start, changed.cycle_end) != (before.cycle_start, before.cycle_end):
        allowance = w.facts.plan_of(w.rows).allowance
        changed = w.change(changed, **spans.cut_cycle(before, changed, allowance))
    changed = _served(w, before, changed)
    if fields.keys() & FOLLOWED and changed.status != "incomplete":
        agreed_limits.align(w, before, changed)
        follow(w)
    if fields.keys() & rollover.FOLLOWED:
        _roll_over(w, before, changed)
    return changed


def _roll_over(w: Work[SubscriptionFacts], before: Subscription, changed: Subscription) -> None:
    """Have credits that roll over follow the cycle, into the next one if that begins.

    A new cycle's own credits count as coming, even if they are paid later or never.
    """
    begins = changed.cycle_start != before.cycle_start
    coming = cycle_credits(w, changed) if begins else Decimal(0)
    rollover.follow(w, before, coming=coming)


def _served(
    w: Work[SubscriptionFacts], before: Subscription, changed: Subscription
) -> Subscription:
    """While `unpaid`, count late uses of the cycle as served, until that cycle is over."""
    served = changed.served_until
    if served is None or before.cycle_start > served:
        return changed
    used = spans.used_until(before, w.facts.used_share, served)
    return w.change(changed, unserved_since=used) if used > served else changed


def follow(w: Work[SubscriptionFacts]) -> None:
    """Open the usage period of the subscription's cycle, or the one after its end."""
    subscription = of(w)
    since = max(w.facts.at, subscription.cycle_start)
    cut = _cut(w)
    for period in w.rows.of(CrossedPeriod):
        if period.closed_at is None and period.start_at < cut:
            w.change(period, end_at=min(period.end_at, cut), closed_at=since)
    w.do(Do("open_usage_period", {"account_id": subscription.account_id, "at": since}))


def collected(rows: Rows, s: Subscription, only: Sequence[str] | None = None) -> list[Invoice]:
    """Return the invoices it collects itself, oldest first, `only` of these statuses."""
    matter = SUBSCRIPTION.workflow_id(s.id)
    mine = (one for one in rows.of(Invoice) if one.workflow_id == matter)
    found = (one for one in mine if only is None or one.status in only)
    return sorted(found, key=lambda one: (one.created_at, one.id))


def stem(subscription: Subscription) -> str:
    """Return the beginning of the subscription's keys."""
    return ids.encode(ids.SUBSCRIPTION, subscription.id)


def _usage(
    w: Work[SubscriptionFacts],
    *,
    before: datetime | None = None,
    early: bool = False,
    ends: bool = False,
) -> tuple[Line, ...]:
    cut = w.facts.at if ends else _cut(w)
    return arrears.lines(w.rows, w.facts.usage, before=before, early=early, cut=cut)


def _cut(w: Work[SubscriptionFacts]) -> datetime:
    """Return the instant at which every usage period that began earlier has ended."""
    subscription = of(w)
    return w.facts.at if subscription.status in ENDED else subscription.cycle_start


def _complete_records(w: Work[SubscriptionFacts], invoice: Invoice, used: Sequence[Line]) -> None:
    if used:
        billed = {
            "account_id": invoice.account_id,
            "invoice": ids.encode(ids.INVOICE, invoice.id),
            "currency": invoice.currency,
            "lines": used,
        }
        w.do(Do("complete_records", billed))


def new_invoice(
    w: Work[SubscriptionFacts],
    fact_key: str,
    lines: Sequence[Line],
    sold: Plan | None = None,
    /,
    *,
    begun: datetime | None = None,
    **fields: Any,
) -> NewInvoice:
    """Return an invoice to draft: that of a change to a plan `sold`, of a period, or beside the
    period that has `begun`, the current one unless named.

    A line that does not say of which plan it is, is of the one sold or else the subscription's.
    """
    subscription, plan = of(w), sold or w.facts.plan_of(w.rows)
    begun = begun or subscription.current_period_start
    off = discounts.beside_period(
        w.rows, begun=begun, of_change=sold is not None, until=subscription.ended_at
    )
    if "period_start" in fields:
        off = discounts.of_period(w.rows, proration.billed_part(lines))
    if subscription.collection == "send_invoice":
        fields = {
            "collection": "send_invoice",
            "payment_reference": payment_reference(w.facts.new_id()),
            **fields,
        }
    return NewInvoice(
        account_id=subscription.account_id,
        issuer_id=w.facts.issuer_id,
        workflow_id=SUBSCRIPTION.workflow_id(subscription.id),
        fact_key=fact_key,
        currency=subscription.currency,
        subscription_id=subscription.id,
        lines=tuple(one.of_plan(plan.key, plan.tax_category) for one in lines),
        discounts=off,
        **fields,
    )


def _in_burst(w: Work[SubscriptionFacts], subscription: Subscription) -> bool:
    """True if the previous invoice was also written late, after the end of the period it bills."""
    key = _period_key(subscription)
    before = next((one for one in w.rows.of(Invoice) if one.fact_key == key), None)
    if before is None:
        return w.facts.period_was_late
    return before.collection == "held" and before.created_at >= subscription.current_period_end


def _carries_debt(w: Work[SubscriptionFacts]) -> bool:
    """True if carried debts, each too small for a card, now reach a chargeable amount."""
    currency = of(w).currency
    balance = invoices.money_balance(w, currency)
    return balance < 0 and collectable(-balance, currency) > 0


def cycle_credits(w: Work[SubscriptionFacts], subscription: Subscription) -> Decimal:
    """Return the plan's credits of the cycle; a short cycle has fewer.

    Those of a free plan are a month's, granted once, also if its cycle is cut in two.
    """
    if not subscription.amount_minor:
        return items.credits_of(w)
    part = spans.parts(subscription, w.facts.plan_of(w.rows).allowance).cycle
    return proration.credits_share(items.credits_of(w), part)


def line_of(w: Work[SubscriptionFacts], item: Item, subscription: Subscription) -> Line:
    """Return the line that bills an item for the subscription's period."""
    start, end = subscription.current_period_start, subscription.current_period_end
    part, whole_minor = spans.rest_of_period(subscription, start), item.amount_minor * item.lasting
    given: dict[str, Any] = {
        "price": str(item.price_id),
        "credits": show_decimal(cycle_credits(w, subscription)),
    }
    if item.add_on:
        given = {"add_on": item.add_on}
    if part != 1:
        given |= {"of_minor": whole_minor, "share": str(part)}
    return Line(
        kind=item.kind,
        description=f"{item.description}, {periods.spoken_span(start, end, subscription.zone)}",
        quantity=Decimal(item.lasting),
        unit_amount=Decimal(item.amount_minor),
        amount_minor=proration.share(whole_minor, part),
        period_start=start,
        period_end=end,
        detail=given,
    )


def _period_key(subscription: Subscription) -> str:
    """Return the key of the current period."""
    return f"{stem(subscription)}/period-{subscription.current_period_start:%Y-%m-%dT%H:%M:%S.%fZ}"
