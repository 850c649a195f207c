"""A dispute that is won after it was booked as lost gives back what the loss took. Pure.

Its credit note stands. Another invoice sells the same again, paid by the money that came back; of a
subscription that has ended only the time that was served (docs/rules.md#payments).
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final

from billing.core.money import round_exact
from billing.matters.effects import Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import giving_back
from billing.money.invoices import transitions as invoices
from billing.money.invoices.giving_back import Part
from billing.money.invoices.schemas import (
    PRORATION,
    CreditNote,
    Invoice,
    InvoiceLine,
    Line,
    NewInvoice,
)
from billing.money.purchases.schemas import Purchase
from billing.money.reversals.booking import RESTORED, subject_of
from billing.money.reversals.facts import ReversalFacts

_TIMED: Final = ("plan", "add_on")


def sell_again(w: Work[ReversalFacts], row: Dispute) -> int:
    """Bill what the customer has or had of the noted part; return that amount. The money balance
    has the money that pays it.
    """
    invoice = w.rows.get(Invoice, row.invoice_id)
    noted = _noted(w, row)
    served = noted.up_to(noted.total_minor - _unserved(w, invoice, noted.total_minor))
    if served.total_minor <= 0:
        return 0
    line = Line(
        kind=RESTORED,
        description=f"Of invoice {invoice.number}, after a dispute",
        unit_amount=Decimal(served.net_minor),
        amount_minor=served.net_minor,
        taxes=(),
        tax_left=tuple(served.as_rows),
    )
    draft = invoices.draft(
        w,
        NewInvoice(
            account_id=row.account_id,
            issuer_id=invoice.issuer_id,
            workflow_id=invoice.workflow_id,
            fact_key=f"{subject_of(row)}/{RESTORED}",
            currency=invoice.currency,
            lines=(line,),
        ),
    )
    invoices.finalize(w, invoices.pay_by_balance(w, draft))
    for purchase in w.rows.of(Purchase):
        if purchase.status == "refunded":
            w.change(purchase, status="completed")
    return served.total_minor


def _noted(w: Work[ReversalFacts], row: Dispute) -> Part:
    """Return what the notes of a dispute credited, with its tax."""
    subject = subject_of(row)
    found = [one for one in w.rows.of(CreditNote) if f"/{subject}" in one.fact_key]
    back = Part(0, {})
    for one in found:
        taxes = {giving_back.rate_of(tax): tax["amount_minor"] for tax in one.taxes}
        rates = back.taxes.keys() | taxes.keys()
        sums = {rate: back.taxes.get(rate, 0) + taxes.get(rate, 0) for rate in rates}
        back = Part(back.total_minor + one.amount_minor, sums)
    return back


def _unserved(w: Work[ReversalFacts], invoice: Invoice, noted_minor: int) -> int:
    """Return the part of a noted amount that charged time after the subscription's end. Banks take
    first the money for something else.
    """
    ended_at = w.facts.ended_at
    if ended_at is None:
        return 0
    lines = [one for one in invoices.lines_of(w.rows, invoice.id) if one.kind != PRORATION]
    timed = [one for one in lines if one.kind in _TIMED]
    whole = sum(one.total_minor for one in timed)
    others = sum(one.total_minor for one in lines) - whole
    left = sum((one.total_minor * _rest_of(one, ended_at) for one in timed), Fraction(0))
    return round_exact(max(0, noted_minor - others) * left / max(1, whole))


def _rest_of(line: InvoiceLine, at: datetime) -> Fraction:
    if line.period_start is None or line.period_end is None:
        return Fraction(0)
    whole = (line.period_end - line.period_start).total_seconds()
    left = (line.period_end - at).total_seconds()
    return Fraction(int(max(0, min(whole, left))), max(1, int(whole)))
