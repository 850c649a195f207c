"""The invoices of a subscription: of a period, of a change, and beside them. Pure."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypedDict
from uuid import UUID

from billing.catalog.plans.schemas import Plan
from billing.core import ids, keys, periods
from billing.core.currencies import collectable
from billing.core.money import show_decimal
from billing.matters.effects import Do, Operation, Rows, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.discounts import transitions as discounts
from billing.money.discounts.schemas import Discount
from billing.money.invoices import arrears
from billing.money.invoices import transitions as invoices
from billing.money.invoices.rules import payment_reference
from billing.money.invoices.schemas import Invoice, Line, NewInvoice
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import cycles, proration, shares, spans, true_ups
from billing.money.subscriptions.schemas import Item, Subscription


class BilledRecords(TypedDict):
    """The lines of an invoice that bill records of use."""

    account_id: UUID
    invoice: str
    currency: str
    lines: Sequence[Line]


COMPLETE_RECORDS: Final = Operation[BilledRecords]("complete_records")


class UsageToBill(NamedTuple):
    """The usage that an invoice beside the periods bills, and whether it is written without any."""

    closed: bool = False
    """Only that of cycles before the current one."""
    early: bool = False
    """The current cycle continues, and its close bills the rest."""
    stops: bool = False
    """Nothing more is used in the current cycle."""
    debts: bool = False
    """Also without usage, if a card can be charged for the debt on the money balance."""
    held: bool = False
    """The charge of a card waits for an operator."""


CYCLE: Final = UsageToBill(closed=True)
"""As a cycle begins: usage of the cycles before it."""
EARLY: Final = UsageToBill(early=True)
"""At a billing threshold: also usage of the current cycle so far."""
PAUSE: Final = UsageToBill(stops=True)
"""As a pause begins: all usage until then."""
END: Final = UsageToBill(debts=True)
"""At the end of the subscription: all usage, with the debt on the money balance."""
LATE: Final = UsageToBill()
"""After a pause or the end: uses that came late."""


def collected(rows: Rows, s: Subscription, only: Sequence[str] | None = None) -> list[Invoice]:
    """Return the invoices it collects itself, oldest first, `only` of these statuses."""
    matter = SUBSCRIPTION.workflow_id(s.id)
    mine = (one for one in rows.of(Invoice) if one.workflow_id == matter)
    found = (one for one in mine if only is None or one.status in only)
    return sorted(found, key=lambda one: (one.created_at, one.id))


def is_billed(w: Work[SubscriptionFacts]) -> bool:
    """True if the current period has not ended, and more than a draft bills it."""
    subscription = subscription_of(w)
    start = subscription.current_period_start
    drafted = any(one.period_start == start for one in collected(w.rows, subscription, ("draft",)))
    return not drafted and w.facts.at < subscription.current_period_end


def draft_period(
    w: Work[SubscriptionFacts], *, held: bool = False, closing: true_ups.Closing | None = None
) -> Invoice:
    """Draft the current period's invoice, once per period start: each item in advance, usage of
    earlier cycles in arrears.

    A draft before the first payment, or while `unpaid`, may never be finalized: it has no usage and
    no minimums, which go onto the next one.
    """
    subscription = subscription_of(w)
    used: tuple[Line, ...] = ()
    if subscription.status not in ("incomplete", "unpaid"):
        used = _usage(w, CYCLE)
    else:
        true_ups.put_off(w, closing)
        closing = None
    lines = (*(line_of(w, item, subscription) for item in w.rows.of(Item)), *used)
    period = spans.fields(subscription)
    new = _of_period(w, period_key(subscription), lines, w.facts.plan_of(w.rows), **period)
    new = true_ups.with_least(w, closing, new)
    invoice = invoices.draft(w, _held(new) if held else new)
    _complete_records(w, invoice, used)
    return invoice


def bill_usage(
    w: Work[SubscriptionFacts],
    key: str,
    which: UsageToBill,
    *,
    closing: true_ups.Closing | None = None,
    begun: datetime | None = None,
    more: Sequence[Line] = (),
) -> Invoice | None:
    """Invoice overage that no period's invoice bills, once per key, with the minimum of a period
    that closes and `more`; None if nothing is owed. `begun`: the period's start, if another one
    runs.
    """
    used = _usage(w, which)
    new = true_ups.with_least(w, closing, _beside(w, key, (*more, *used), begun))
    if not new.lines and not (which.debts and _carries_debt(w)):
        return None
    invoice = invoices.draft(w, _held(new) if which.held else new)
    _complete_records(w, invoice, used)
    return issue(w, invoice)


def _held(new: NewInvoice) -> NewInvoice:
    """Return the invoice with its charge held for an operator; one that is sent is not charged."""
    is_charged = new.collection == "automatic"
    return new.model_copy(update={"collection": "held"}) if is_charged else new


def bill(w: Work[SubscriptionFacts], key: str, lines: Sequence[Line]) -> Invoice:
    """Invoice these lines on their own, once per key."""
    return issue(w, invoices.draft(w, _beside(w, key, lines)))


def draft_change(
    w: Work[SubscriptionFacts],
    change_id: UUID,
    lines: Sequence[Line],
    sold: Plan,
    begun: Subscription | None = None,
) -> Invoice:
    """Draft the invoice to be paid before a change is applied; only the change refers to it."""
    return invoices.draft(w, of_change(w, change_key(w, change_id), lines, sold, begun))


def change_key(w: Work[SubscriptionFacts], change_id: UUID) -> str:
    """Return the key of that invoice."""
    return keys.change(cycles.stem(subscription_of(w)), change_id)


def of_change(
    w: Work[SubscriptionFacts],
    key: str,
    lines: Sequence[Line],
    sold: Plan,
    begun: Subscription | None = None,
) -> NewInvoice:
    """Return the invoice of a change to a plan, to draft: that of the period that begins with the
    change, if one has `begun`, else one beside the current period.
    """
    if begun is not None:
        return _of_period(w, key, lines, sold, **spans.fields(begun))
    start = subscription_of(w).current_period_start
    off = discounts.beside_period(w.rows, begun=start, of_change=True)
    return _new(w, key, lines, sold, off)


def _of_period(
    w: Work[SubscriptionFacts], key: str, lines: Sequence[Line], sold: Plan, **fields: Any
) -> NewInvoice:
    off = discounts.of_period(w.rows, proration.billed_part(lines))
    return _new(w, key, lines, sold, off, **fields)


def _beside(
    w: Work[SubscriptionFacts], key: str, lines: Sequence[Line], begun: datetime | None = None
) -> NewInvoice:
    """Return an invoice beside the period that has `begun`, the current one unless named."""
    subscription, sold = subscription_of(w), w.facts.plan_of(w.rows)
    begun = begun or subscription.current_period_start
    until = subscription.ended_at
    off = discounts.beside_period(w.rows, begun=begun, of_change=False, until=until)
    return _new(w, key, lines, sold, off)


def _new(
    w: Work[SubscriptionFacts],
    key: str,
    lines: Sequence[Line],
    sold: Plan,
    off: tuple[Discount, ...],
    **fields: Any,
) -> NewInvoice:
    """Return an invoice; a line that does not say of which plan it is, is of the one sold."""
    subscription = subscription_of(w)
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
        fact_key=key,
        currency=subscription.currency,
        subscription_id=subscription.id,
        lines=tuple(one.of_plan(sold.key, sold.tax_category) for one in lines),
        discounts=off,
        **fields,
    )


def issue(w: Work[SubscriptionFacts], draft: Invoice) -> Invoice:
    """Finalize a draft; a customer who pays by transfer has some days for it."""
    return invoices.finalize(w, draft, days_until_due=subscription_of(w).days_until_due or 0)


def _usage(w: Work[SubscriptionFacts], which: UsageToBill) -> tuple[Line, ...]:
    before = subscription_of(w).cycle_start if which.closed else None
    cut = w.facts.at if which.stops else cycles.usage_cut(w)
    return arrears.lines(w.rows, w.facts.usage, before=before, early=which.early, cut=cut)


def _complete_records(w: Work[SubscriptionFacts], invoice: Invoice, used: Sequence[Line]) -> None:
    if used:
        billed: BilledRecords = {
            "account_id": invoice.account_id,
            "invoice": ids.encode(ids.INVOICE, invoice.id),
            "currency": invoice.currency,
            "lines": used,
        }
        # What is included from now on covers nothing that is billed here: a change to a free plan
        # goes on in the usage period of the cycle that it closes.
        w.do_first(Do(COMPLETE_RECORDS, billed))


def _carries_debt(w: Work[SubscriptionFacts]) -> bool:
    """True if carried debts, each too small for a card, now reach a chargeable amount."""
    currency = subscription_of(w).currency
    balance = invoices.money_balance(w, currency)
    return balance < 0 and collectable(-balance, currency) > 0


def line_of(w: Work[SubscriptionFacts], item: Item, subscription: Subscription) -> Line:
    """Return the line that bills an item for the subscription's period."""
    start, end = subscription.current_period_start, subscription.current_period_end
    part, whole_minor = shares.rest_of_period(subscription, start), item.amount_minor * item.lasting
    given: dict[str, Any] = {
        "price": str(item.price_id),
        "credits": show_decimal(cycles.cycle_credits(w, subscription)),
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


def period_key(subscription: Subscription) -> str:
    """Return the key of the current period."""
    return keys.period(cycles.stem(subscription), subscription.current_period_start)
