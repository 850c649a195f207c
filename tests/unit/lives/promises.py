"""Promises that the rows of a subscription keep at every step of its life."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

from billing.core.periods import MONTH
from billing.matters.effects import Rows
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from billing.money.subscriptions.schemas import Item, Subscription, SubscriptionChange
from tests.unit.lives import catalogs


def adds_up(rows: Rows, invoice: Invoice) -> None:
    """The sums of an invoice, its lines, its money and the balance agree."""
    live = [one for one in rows.of(Payment)
            if one.invoice_id == invoice.id and not one.waits_for_its_turn
            and one.status in ("pending", "pending_approval", "processing")]  # fmt: skip
    assert len(live) <= 1, "one collector per invoice"
    entries = [one for one in rows.of(BalanceEntry) if one.invoice_id == invoice.id]
    sums = {kind: sum(one.amount_minor for one in entries if one.kind == kind)
            for kind in ("carried", "applied", "overpaid", "unasked", "credited")}  # fmt: skip
    lines = [one for one in rows.of(InvoiceLine) if one.invoice_id == invoice.id]
    assert invoice.total_minor == sum(one.total_minor for one in lines)
    assert invoice.balance_applied_minor == -sums["applied"]
    due = invoice.total_minor - invoice.balance_applied_minor + sums["carried"]
    assert invoice.amount_due_minor == due, "a cent is owed that is on no line"
    settled = invoice.amount_paid_minor + invoice.amount_credited_minor
    assert settled <= invoice.amount_due_minor
    if invoice.status == "paid":
        assert settled == invoice.amount_due_minor, "paid with something left"
    notes = [one for one in rows.of(CreditNote) if one.invoice_id == invoice.id]
    noted = sum(one.amount_minor for one in notes)
    most = max(invoice.total_minor, invoice.amount_due_minor)  # what was carried to it is forgiven
    assert noted <= most, "more went back than its total"
    assert sum(one.tax_minor for one in notes) <= invoice.tax_minor, "more tax than it charged"
    assert noted == invoice.amount_credited_minor + sums["credited"], "a note is worth its sum"
    if invoice.status == "void" and invoice.finalized_at is not None:
        assert noted == invoice.total_minor, "a void invoice is taken back whole"
    booked = sum(one.received_minor for one in rows.of(Payment)
                 if one.invoice_id == invoice.id and one.settled_at)  # fmt: skip
    back = [one for one in rows.of(Refund)
            if one.invoice_id == invoice.id and one.status != "failed"]  # fmt: skip
    assert sum(one.amount_minor for one in back) <= booked, "more went back than came"
    loose = sum(one.amount_minor - one.note_minor - one.balance_minor for one in back)
    assert booked == invoice.amount_paid_minor + sums["overpaid"] + sums["unasked"] + loose


def changes_are_charged_first(rows: Rows) -> None:
    """Nothing of a change is there before its draft is paid."""
    changes = rows.of(SubscriptionChange)
    assert sum(one.status == "pending" for one in changes) <= 1, "one money step at a time"
    for one in changes:
        if one.invoice_id is None:
            continue
        status = rows.get(Invoice, one.draft_id).status
        wanted = {"pending": "draft", "applied": "paid"}.get(one.status, "void")
        if not any(line.invoice_id == one.draft_id for line in rows.of(InvoiceLine)):
            wanted = "void"  # it only gives back: nothing is charged, and no number is taken
        assert status == wanted, f"a change that is {one.status} has a {status} invoice"
        have = {item.add_on: item.quantity for item in rows.of(Item)}
        if one.status == "pending" and one.kind == "add_ons":
            more = [key for key, count in one.wanted.items() if count > have.get(key, 0)]
            # Less of one is charged anew while a note takes back what is not paid of it yet.
            assert more or one.terms["fewer_now"], "an add-on is given before it is paid"


def no_day_is_paid_twice(rows: Rows, ended: datetime | None) -> None:
    """The price of the plan is paid for spans that do not overlap; an end cuts the last."""
    cuts = catalogs.cuts(rows)
    paid = {one.id for one in rows.of(Invoice) if one.amount_paid_minor > 0}
    spans = sorted(
        (line.period_start, min([line.period_end, ended or line.period_end, *(
            at for cut, at in cuts if cut > line.invoice_id and at >= line.period_start)]))
        for line in rows.of(InvoiceLine)
        if line.kind == "plan" and line.invoice_id in paid
        and line.period_start is not None and line.period_end is not None
    )  # fmt: skip
    for (_, before), (after, _) in pairwise(spans):
        assert before <= after, "a day is paid twice"


def units_are_paid_for(rows: Rows, subscription: Subscription) -> None:
    """Add-ons give no more units in a cycle than the money that stays with us for it is worth."""
    start = subscription.cycle_start
    if subscription.status not in ("active", "past_due") or subscription.interval != MONTH:
        return
    invoices = {one.id: one for one in rows.of(Invoice)}
    lines = {
        one.id: one for one in rows.of(InvoiceLine)
        if one.kind == "add_on" and one.period_start is not None and one.period_start >= start
        # What an operator voids later is a gift.
        and invoices[one.invoice_id].finalized_at is not None
    }  # fmt: skip
    began = {one.id for one in invoices.values() if one.cycle_start == start}
    shares = [
        Fraction(one.detail.get("share", 1)) for one in rows.of(InvoiceLine)
        if one.kind == "plan" and one.invoice_id in began
    ]  # fmt: skip
    kept = sum(one.amount_minor for one in lines.values()) + len(rows.of(InvoiceLine))
    for line in rows.of(InvoiceLine):
        back = line.kind == "proration" and invoices[line.invoice_id].finalized_at is not None
        kept += line.amount_minor if back and UUID(line.detail["line"]) in lines else 0
    charged = {one.invoice_id for one in lines.values()}
    for note in rows.of(CreditNote):
        back = note.reason == "add-on not used" and note.invoice_id in charged
        kept -= note.amount_minor - note.tax_minor if back else 0
    units = _units(rows, start, min(shares, default=Fraction(1)))
    assert units * catalogs.MORE.prices["EUR"] <= kept * catalogs.MORE.units, "units for nothing"


def _units(rows: Rows, start: datetime, share: Fraction) -> Decimal:
    """Of the cycle from `start`, which is that share of a whole one."""
    whole = (item.quantity * item.units for item in rows.of(Item) if item.units)
    units = Decimal(sum(round(one * share.numerator / share.denominator) for one in whole))
    for change in rows.of(SubscriptionChange):
        began = change.terms.get("cycle_start") if change.status == "applied" else None
        if began is not None and datetime.fromisoformat(began) == start:
            units += sum(
                Decimal(one["units"])
                for one in change.terms["portions"]
                if one["add_on"] is not None
            )
    return units
