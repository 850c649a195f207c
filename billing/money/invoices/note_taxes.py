"""The tax that a credit note credits, by the rates of what it credits. Pure.

Each rate is rounded once per note, and the note that completes its invoice credits all the tax that
is left (docs/rules/invoices.md).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from billing.core.money import ZERO, round_exact, split
from billing.matters.effects import Rows
from billing.money.invoices import giving_back
from billing.money.invoices.giving_back import Part, Rate, rate_of
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine


def with_taxes(
    left: Part,
    amount_minor: int,
    lines: Sequence[InvoiceLine] = (),
    named: Sequence[Mapping[str, Any]] = (),
) -> Part:
    """Return a note's part of what is left: this amount, with each rate's tax in it.

    `named` are the parts of `lines` that the note is about; without them it is about all of them.
    """
    asked = _of_lines(lines, named)
    found: dict[Rate, int] = {}
    for rate, tax in left.taxes.items():
        if amount_minor >= left.total_minor:
            found[rate] = tax
        elif named:
            found[rate] = min(tax, round_exact(asked.get(rate, Fraction(0))))
        else:
            found[rate] = round_exact(Fraction(tax * amount_minor, left.total_minor))
    return Part(amount_minor, _fitted(left, amount_minor, found))


def _fitted(left: Part, amount_minor: int, taxes: Mapping[Rate, int]) -> dict[Rate, int]:
    """Return a note's taxes such that they fit into its amount, and the others into the rest; as
    they are if lines have credited so much without its tax that nothing fits.
    """
    wanted, most = sum(taxes.values()), sum(left.taxes.values())
    if most > left.total_minor:
        return dict(taxes)
    rest = max(0, left.total_minor - amount_minor)
    fits = min(amount_minor, max(wanted, most - rest))
    if fits < wanted:
        return dict(zip(taxes, split(fits, list(taxes.values())), strict=True))
    if fits > wanted:
        others = [left.taxes[rate] - minor for rate, minor in taxes.items()]
        more = dict(zip(taxes, split(fits - wanted, others), strict=True))
        return {rate: minor + more[rate] for rate, minor in taxes.items()}
    return dict(taxes)


def on(rows: Rows, invoice: Invoice, part: Part) -> Part:
    """Return a credited part as a note on this invoice has it, also for one that it paid for.

    No note has more of a tax than the invoice has left. A part whose rates the invoice does not
    have takes back the lines by which it paid, with their tax.
    """
    room = giving_back.room(rows, invoice)
    if any(minor and rate not in room.taxes for rate, minor in part.taxes.items()):
        lent = giving_back.lent(rows, invoice).up_to(part.total_minor)
        part = lent._replace(total_minor=part.total_minor)
    if part.total_minor >= room.total_minor and _completes(rows, invoice, part, room):
        return room._replace(total_minor=part.total_minor)
    taxes = {
        rate: min(minor, max(0, room.taxes.get(rate, 0))) for rate, minor in part.taxes.items()
    }
    return Part(part.total_minor, taxes)


def tax_on(rows: Rows, payer: Invoice, left: Part) -> tuple[Part, Part]:
    """Return the part of a tax that a note on this invoice returns, and the note's own amounts.

    Tax at rates that the invoice does not have takes back that of the lines by which it paid.
    """
    room = giving_back.room(rows, payer)
    own = left.within(room)
    others, free = left.without(own).besides(room.taxes), room.without(own)
    lines = giving_back.lent(rows, payer).added.up_to(others.total_minor).within(free)
    taxes = Counter(own.taxes) + Counter(lines.taxes)
    total_minor = own.total_minor + lines.total_minor
    gone = others.up_to(lines.total_minor).taxes
    return Part(total_minor, own.taxes | gone), Part(total_minor, dict(taxes))


def untaxed(rows: Rows, invoice: Invoice) -> list[Rate]:
    """Return the zero rates, with their reason, of an invoice whose tax a note returned alone."""
    returned = [
        one
        for one in rows.of(CreditNote)
        if one.kind == "reverse_charge"
        and (one.invoice_id == invoice.id or giving_back.is_of(one, invoice))
    ]
    found = (
        rate_of(tax | {"rate": str(ZERO), "reason": one.kind})
        for one in returned
        for tax in one.taxes
    )
    return list(dict.fromkeys(found))


def _completes(rows: Rows, invoice: Invoice, part: Part, room: Part) -> bool:
    """True if all the tax that an invoice has left belongs to the part that completes its total.

    That is what rounding left, a cent for each note, or what lines credited at other rates. More
    is left if it paid for something that bears less tax, which those lines have credited.
    """
    if any(minor < 0 for minor in room.taxes.values()):
        return any(part.taxes.values())
    written = sum(one.invoice_id == invoice.id for one in rows.of(CreditNote))
    return all(
        abs(minor - part.taxes.get(rate, 0)) <= written + 1 for rate, minor in room.taxes.items()
    )


def _of_lines(
    lines: Sequence[InvoiceLine], named: Sequence[Mapping[str, Any]]
) -> dict[Rate, Fraction]:
    """Return the exact tax in the named parts of lines."""
    by_position = {line.position: line for line in lines}
    sums: dict[Rate, Fraction] = {}
    for part in named:
        line = by_position[part["position"]]
        share = Fraction(part["amount_minor"], line.total_minor)
        for tax in line.taxes:
            rate = rate_of(tax)
            sums[rate] = sums.get(rate, Fraction(0)) + tax["amount_minor"] * share
    return sums
