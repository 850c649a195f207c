"""Unused time, set off against the charges of a change. Pure.

Credits bring an invoice to zero at most; the rest, what is not paid yet, and what another seller
charged, is a credit note on the invoice that charged it (docs/rules/subscriptions.md).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from billing.catalog.plans.schemas import Plan
from billing.catalog.taxes.schemas import TaxRate
from billing.matters.effects import Work
from billing.money.invoices import note_taxes
from billing.money.invoices.schemas import PRORATION, Invoice, Line
from billing.money.invoices.sums import sum_lines
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import invoicing, proration
from billing.money.subscriptions.periods.proration import Credit
from billing.money.subscriptions.schemas import Note, Subscription


def net(
    w: Work[SubscriptionFacts],
    unused: Sequence[Credit],
    charges: Sequence[Line],
    sold: Plan,
    begun: Subscription | None = None,
) -> tuple[list[Line], tuple[Note, ...]]:
    """Return credit lines, up to the amount charged, and notes for the rest.

    `sold` is the plan that the invoice charges; `begun` has the period that begins with the change.
    """
    total = partial(_total, w, sold, begun)
    lines, notes = list[Line](), defaultdict[UUID, list[dict[str, Any]]](list)
    for credit, most in _set_off(w, unused):
        asked = total([*lines, *charges])
        drawn = min(most, asked)
        line = _credit_line(credit, drawn)
        # Taxes are rounded together: a cent for each of them may be too much.
        while drawn and total([*lines, line, *charges]) < 0:
            drawn -= 1
            line = _credit_line(credit, drawn)
        # It gives the amount that it lowers the invoice by: nothing if all of it is a cent of tax.
        gives = asked - total([*lines, line, *charges]) if drawn else 0
        if gives > 0:
            lines.append(_with_reason(w, credit, line))
        left = credit.total_minor - max(0, gives)
        if left > 0 and (gives <= 0 or drawn < credit.total_minor):
            notes[credit.line.invoice_id].append(
                proration.noted(credit, left, subscription_of(w).zone)
            )
    return lines, tuple(_note(one, parts) for one, parts in notes.items())


def _set_off(w: Work[SubscriptionFacts], unused: Sequence[Credit]) -> Iterator[tuple[Credit, int]]:
    """Return each credit with the part of it that may lower the new invoice: that which is paid,
    because a note on its invoice first takes off what is owed there; nothing of another seller's.
    """
    owed = {one.line.invoice_id: one.owed_minor for one in unused}
    # An invoice of before there were sellers names none: that is no other one.
    sellers = (None, w.facts.issuer_id)
    for one in unused:
        noted = min(one.total_minor, owed[one.line.invoice_id])
        owed[one.line.invoice_id] -= noted
        yield one, one.total_minor - noted if one.issuer_id in sellers else 0


def _note(invoice_id: UUID, parts: list[dict[str, Any]]) -> Note:
    amount_minor = sum(one["amount_minor"] for one in parts)
    return Note(invoice_id=invoice_id, amount_minor=amount_minor, lines=tuple(parts))


def _total(
    w: Work[SubscriptionFacts], sold: Plan, begun: Subscription | None, lines: Sequence[Line]
) -> int:
    """Return the total of lines with discounts and tax; it may be negative."""
    new = invoicing.of_change(w, "", lines, sold, begun)
    summed = sum_lines(new.lines, new.discounts, w.facts.taxation.at(w.facts.at), new.currency)
    return sum(one.total_minor for one in summed)


def _with_reason(w: Work[SubscriptionFacts], credit: Credit, line: Line) -> Line:
    """Return a credit line with the reason why its time has no tax, if all the tax in it was
    returned before: the invoice must state it of all that it sums up.
    """
    if not credit.less_tax or line.tax_left:
        return line
    untaxed = note_taxes.untaxed(w.rows, w.rows.get(Invoice, credit.line.invoice_id))
    rates = tuple(TaxRate.model_validate(dict(one)) for one in untaxed)
    return line.model_copy(update={"taxes": rates})


def _credit_line(credit: Credit, total_minor: int) -> Line:
    line, part = credit.line, credit.part.up_to(total_minor)
    rates = tuple(TaxRate.model_validate(one) for one in line.taxes)
    left = tuple(one | {"amount_minor": -one["amount_minor"]} for one in part.as_rows)
    return Line(
        kind=PRORATION,
        description=f"Not used: {line.description}",
        unit_amount=Decimal(-part.net_minor),
        amount_minor=-part.net_minor,
        taxes=() if credit.less_tax else rates,
        tax_left=left if credit.less_tax else (),
        detail={
            "invoice": str(line.invoice_id),
            "line": str(line.id),
            "since": str(line.period_start),
            "of_minor": line.amount_minor - line.discount_minor,
        },
    )
