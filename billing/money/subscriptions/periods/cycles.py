"""Time passes for a subscription: periods move, invoices are written, cycles grant credits. Pure.

Each function answers the rows as they are afterwards.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from billing.core import ids, periods
from billing.core.currencies import collectable
from billing.core.money import show_decimal
from billing.matters.effects import Do, Rows, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.discounts import transitions as discounts
from billing.money.discounts.schemas import Discount
from billing.money.invoices import arrears
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice, Line, NewInvoice
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import items, proration, rollover, spans, true_ups
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import CrossedPeriod, Item, Subscription

FOLLOWED: Final = frozenset({"status", "plan_id", "amount_minor", "cycle_start", "cycle_end"})
"""Fields of the account's usage period."""


def follow_zone(w: Work[SubscriptionFacts]) -> None:
    """A zone that the account was given counts from the next period on.

    It waits while an instant to come was agreed by the calendar of the zone before.
    """
    subscription, zone = of(w), w.facts.account_zone
    if zone is None or zone == subscription.zone or _is_agreed_ahead(w, subscription):
        return
    fields = spans.in_zone(subscription, zone)
    if fields is not None and not _is_same_month(subscription, zone):
        change(w, **fields)


def _is_same_month(s: Subscription, zone: str) -> bool:
    """True of a free period to come if it began in the month of this one there: it brought its
    credits, which a free plan gives once a month.
    """
    first, then = (
        periods.to_wall(at, where)
        for at, where in ((s.cycle_start, s.zone), (s.current_period_end, zone))
    )
    return not s.amount_minor and (first.year, first.month) == (then.year, then.month)


def _is_agreed_ahead(w: Work[SubscriptionFacts], s: Subscription) -> bool:
    """True if a contract begins or ends, a commitment or the subscription ends, after this period.

    An instant between two boundaries of other periods would cut a short one, or be missed by one.
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
    """The next period: invoice, period and cycle move at once [C11]. `closing` ends with it.

    While `unpaid` the invoice stays a draft. After an outage of more than one period the charge
    is held for an operator (docs/rules.md#time).
    """
    subscription = of(w)
    start = subscription.current_period_end
    number, end = spans.next_period(subscription)
    is_charged = subscription.collection != "send_invoice"
    held = is_charged and (end <= w.facts.at or _in_burst(w, subscription))
    since = subscription.unpaid_at
    if subscription.status == "unpaid" and since is None:
        since = w.facts.at  # the release before did not write it down
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
    """True while its period runs, if more than a draft bills it."""
    subscription = of(w)
    start = subscription.current_period_start
    drafted = any(one.period_start == start for one in collected(w.rows, subscription, ("draft",)))
    return not drafted and w.facts.at < subscription.current_period_end


def issue(w: Work[SubscriptionFacts], draft: Invoice, *, use_balance: bool = True) -> Invoice:
    """Number a draft; a customer who pays by transfer has some days for it."""
    days = of(w).days_until_due or 0
    return invoices.finalize(w, draft, days_until_due=days, use_balance=use_balance)


def draft_period(
    w: Work[SubscriptionFacts], *, held: bool = False, closing: true_ups.Closing | None = None
) -> Invoice:
    """The draft of the current period, once per period start: each item in advance, usage of the
    cycles before it in arrears.

    What a draft bills must be finalized with it: before the first payment, and while `unpaid`, it
    has no usage and no least, which go onto the next one.
    """
    subscription = of(w)
    used: tuple[Line, ...] = ()
    least: tuple[Line, ...] = ()
    if subscription.status not in ("incomplete", "unpaid"):
        used = _usage(w, before=subscription.cycle_start)
        least = true_ups.lines(w, closing, used)
    else:
        true_ups.put_off(w, closing)
    invoice = invoices.draft(
        w,
        new_invoice(
            w,
            _period_key(subscription),
            (*(line_of(w, item, subscription) for item in w.rows.of(Item)), *used, *least),
            **spans.fields(subscription),
            **({"collection": "held"} if held else {}),
        ),
    )
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
    more: Sequence[Line] = (),
) -> Invoice | None:
    """An invoice of its own for use beyond the plan that no period's invoice bills, once per key.

    Usage of cycles that began `before`, or of all; with `debts` also without any, where a card
    can be charged for what the money balance carries. None where nothing is owed. `early`: the
    open cycle goes on, and its close bills the rest; `ends`: nothing more is used in it.
    """
    used = _usage(w, before=before, early=early, ends=ends)
    lines = (*more, *used, *true_ups.lines(w, closing, (*more, *used)))
    if not lines and not (debts and _carries_debt(w)):
        return None
    invoice = invoices.draft(w, new_invoice(w, key, lines))
    _complete_records(w, invoice, used)
    return issue(w, invoice)


def bill(w: Work[SubscriptionFacts], key: str, lines: Sequence[Line]) -> Invoice:
    """An invoice of its own for these lines, once per key."""
    return issue(w, invoices.draft(w, new_invoice(w, key, lines)))


def draft_change(
    w: Work[SubscriptionFacts],
    change_id: UUID,
    lines: Sequence[Line],
    sold: str | None = None,
    /,
    **fields: Any,
) -> Invoice:
    """The draft that is paid before a change is applied; the change names it, and nothing else."""
    key = f"{stem(of(w))}/{ids.encode(ids.CHANGE, change_id)}"
    return invoices.draft(w, new_invoice(w, key, lines, sold or of(w).plan_key, **fields))


def of(w: Work[SubscriptionFacts]) -> Subscription:
    """The subscription as it is now."""
    return w.rows.get(Subscription, w.facts.subscription_id)


def change(w: Work[SubscriptionFacts], **fields: Any) -> Subscription:
    """Overwrite fields of it; the account's usage period follows what it is made of."""
    before = of(w)
    changed = w.change(before, **fields, updated_at=w.facts.at)
    if (changed.cycle_start, changed.cycle_end) != (before.cycle_start, before.cycle_end):
        allowance = w.facts.plan_of(w.rows).allowance
        changed = w.change(changed, **spans.cut_cycle(before, changed, allowance))
    changed = _served(w, before, changed)
    if fields.keys() & FOLLOWED and changed.status != "incomplete":
        follow(w)
    if fields.keys() & rollover.FOLLOWED:
        _roll_over(w, before, changed)
    return changed


def _roll_over(w: Work[SubscriptionFacts], before: Subscription, changed: Subscription) -> None:
    """Credits that outlive their cycle follow it, and roll over into one that begins.

    Those of a cycle that is not paid yet, or never, count as coming with it.
    """
    begins = changed.cycle_start != before.cycle_start
    coming = cycle_credits(w, changed) if begins else Decimal(0)
    rollover.follow(w, before, coming=coming)


def _served(
    w: Work[SubscriptionFacts], before: Subscription, changed: Subscription
) -> Subscription:
    """While it is `unpaid` uses that come late to its cycle count as served, until that is over."""
    served = changed.served_until
    if served is None or before.cycle_start > served:
        return changed
    used = spans.used_until(before, w.facts.used_share, served)
    return w.change(changed, unserved_since=used) if used > served else changed


def follow(w: Work[SubscriptionFacts]) -> None:
    """The usage period in which the subscription's cycle goes on, or which its end begins."""
    subscription = of(w)
    since = max(w.facts.at, subscription.cycle_start)
    cut = _cut(w)
    for period in w.rows.of(CrossedPeriod):
        if period.closed_at is None and period.start_at < cut:
            w.change(period, end_at=min(period.end_at, cut), closed_at=since)
    w.do(Do("open_usage_period", {"account_id": subscription.account_id, "at": since}))


def collected(rows: Rows, subscription: Subscription, statuses: Sequence[str]) -> list[Invoice]:
    """The invoices that the subscription itself collects, oldest first."""
    matter = SUBSCRIPTION.workflow_id(subscription.id)
    mine = (one for one in rows.of(Invoice) if one.workflow_id == matter)
    return sorted(
        (one for one in mine if one.status in statuses), key=lambda one: (one.created_at, one.id)
    )


def stem(subscription: Subscription) -> str:
    """Beginning of the keys of its facts."""
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
    """The instant at which every usage period that began before it has ended."""
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
    sold: str | None = None,
    /,
    **fields: Any,
) -> NewInvoice:
    """An invoice to draft; that of a change has the discounts of the plan that is `sold` by it.

    A line that does not say its tax category has that of its own plan.
    """
    subscription = of(w)
    if subscription.collection == "send_invoice":
        fields = {
            "collection": "send_invoice",
            # What the payer writes on the transfer; short enough to be copied by hand.
            "payment_reference": w.facts.new_id().hex[-12:].upper(),
            **fields,
        }
    return NewInvoice(
        account_id=subscription.account_id,
        issuer_id=w.facts.issuer_id,
        workflow_id=SUBSCRIPTION.workflow_id(subscription.id),
        fact_key=fact_key,
        currency=subscription.currency,
        subscription_id=subscription.id,
        lines=tuple(one.taxed_as(w.facts.plan_of(w.rows).tax_category) for one in lines),
        discounts=_discounts(w, sold, of_period="period_start" in fields),
        **fields,
    )


def _discounts(
    w: Work[SubscriptionFacts], sold: str | None, *, of_period: bool
) -> tuple[Discount, ...]:
    subscription = of(w)
    plan, begun = sold or subscription.plan_key, subscription.current_period_start
    if of_period:
        return discounts.of_period(w.rows, plan)
    return discounts.beside_period(w.rows, plan, begun=begun, of_change=sold is not None)


def _in_burst(w: Work[SubscriptionFacts], subscription: Subscription) -> bool:
    """True if the period before was written late too, after this one should have begun."""
    key = _period_key(subscription)
    before = next((one for one in w.rows.of(Invoice) if one.fact_key == key), None)
    if before is None:
        return w.facts.period_was_late
    return before.collection == "held" and before.created_at >= subscription.current_period_end


def _carries_debt(w: Work[SubscriptionFacts]) -> bool:
    """True if what was too small for a card, use by use, is by now enough for one."""
    currency = of(w).currency
    balance = invoices.money_balance(w, currency)
    return balance < 0 and collectable(-balance, currency) > 0


def cycle_credits(w: Work[SubscriptionFacts], subscription: Subscription) -> Decimal:
    """The plan's credits of its cycle, fewer of a short one."""
    part = spans.parts(subscription, w.facts.plan_of(w.rows).allowance).cycle
    return proration.credits_share(items.credits_of(w), part)


def line_of(w: Work[SubscriptionFacts], item: Item, subscription: Subscription) -> Line:
    """The line that bills an item for the period of a subscription."""
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
    """The period as a business fact."""
    return f"{stem(subscription)}/period-{subscription.current_period_start:%Y-%m-%dT%H:%M:%S.%fZ}"
