"""The part of an invoice that can still be credited, and its tax by rate. Pure.

Every credit stays within it: a note, a line of another invoice that credits this one, a refund and
a dispute. So nothing is credited twice, nor any tax that was not charged (docs/rules/invoices.md).
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple
from uuid import UUID

from billing.core import ids
from billing.core.money import round_exact, split
from billing.matters.effects import Rows
from billing.money.invoices.schemas import PRORATION, CreditNote, Invoice, InvoiceLine

OF: Final = "/of/"
"""In the key of a note on another invoice: precedes the invoice whose part it credits."""
Rate = tuple[tuple[str, Any], ...]
"""A rate without its amount, as it is on a line."""


class Part(NamedTuple):
    """A part of an invoice: its total, and the tax in it by rate."""

    total_minor: int
    taxes: dict[Rate, int]

    def up_to(self, total_minor: int) -> "Part":
        """Return the share that totals `total_minor`, at most everything."""
        total_minor = max(0, total_minor)
        if self.total_minor <= total_minor:
            return self
        added = [rate for rate in self.taxes if is_added(rate)]
        sums = [self.taxes[rate] for rate in added]
        parts = split(total_minor, [self.total_minor - sum(sums), *sums])
        share = Fraction(total_minor, self.total_minor)
        held = {rate: round_exact(minor * share) for rate, minor in self.taxes.items()}
        return Part(total_minor, held | dict(zip(added, parts[1:], strict=True)))

    def share(self, of_it: Fraction) -> "Part":
        """Return this fraction; the price and each tax are rounded once."""
        taxes = {rate: round_exact(minor * of_it) for rate, minor in self.taxes.items()}
        return Part(round_exact(self.net_minor * of_it) + _added(taxes), taxes)

    def within(self, left: "Part") -> "Part":
        """Return as much of this part as is `left`, in this part's proportion of price and taxes;
        if less is left of a tax than its proportion, all that is left of it.
        """
        held = {rate: max(0, left.taxes.get(rate, 0)) for rate in self.taxes}
        ended = dict[Rate, int]()
        while True:
            part = self.besides(ended).up_to(left.total_minor - _added(ended))
            short = {rate: held[rate] for rate, minor in part.taxes.items() if minor > held[rate]}
            if not short:
                return Part(part.total_minor + _added(ended), part.taxes | ended)
            ended |= short

    def besides(self, rates: Container[Rate]) -> "Part":
        """Return this part without the taxes of these rates."""
        gone = {rate: minor for rate, minor in self.taxes.items() if rate in rates}
        others = {rate: minor for rate, minor in self.taxes.items() if rate not in rates}
        return Part(self.total_minor - _added(gone), others)

    def without(self, gone: "Part") -> "Part":
        """Return the remainder after `gone`."""
        taxes = {rate: minor - gone.taxes.get(rate, 0) for rate, minor in self.taxes.items()}
        return Part(self.total_minor - gone.total_minor, taxes)

    @property
    def added(self) -> "Part":
        """The taxes alone that are added to its price."""
        taxes = {rate: minor for rate, minor in self.taxes.items() if is_added(rate)}
        return Part(sum(taxes.values()), taxes)

    @property
    def net_minor(self) -> int:
        """The total without added tax."""
        return self.total_minor - _added(self.taxes)

    @property
    def as_rows(self) -> list[dict[str, Any]]:
        """The rates that are not zero, or say why they are, each with its `amount_minor`."""
        found = ((dict(rate), minor) for rate, minor in self.taxes.items())
        return [
            rate | {"amount_minor": minor}
            for rate, minor in found
            if minor or rate.get("reason") is not None
        ]


def of_lines(lines: Sequence[InvoiceLine]) -> Part:
    """Return the sums of these lines."""
    return Part(sum(line.total_minor for line in lines), _sums(lines))


def left(rows: Rows, invoice: Invoice) -> Part:
    """Return the part of an invoice that no note and no line of another invoice has credited yet.

    Lines of this invoice that credit another one count as money that paid it: they do not lower its
    part, and their tax belongs to the other invoice.
    """
    notes = [one for one in rows.of(CreditNote) if is_of(one, invoice)]
    lines = [one for one in rows.of(InvoiceLine) if one.invoice_id == invoice.id]
    own = sum(-one.total_minor for one in lines if one.kind == PRORATION)
    charged = [one for one in lines if one.kind != PRORATION]
    taken = crediting(rows, invoice.id)
    return less(Part(invoice.total_minor + own, _sums(charged)), notes, taken)


def crediting(rows: Rows, invoice_id: UUID) -> list[InvoiceLine]:
    """Return the lines of other invoices that credit a part of this one; a void one has none."""
    return [
        one
        for one in rows.of(InvoiceLine)
        if one.credited_invoice_id == invoice_id
        and rows.get(Invoice, one.invoice_id).status != "void"
    ]


def room(rows: Rows, invoice: Invoice) -> Part:
    """Return the part of its total, with the tax in it, that notes on it have not credited yet."""
    notes = [one for one in rows.of(CreditNote) if one.invoice_id == invoice.id]
    lines = [one for one in rows.of(InvoiceLine) if one.invoice_id == invoice.id]
    back = Part(sum(one.amount_minor for one in notes), _sums(notes))
    return Part(invoice.total_minor, _sums(lines)).without(back)


def lent(rows: Rows, invoice: Invoice) -> Part:
    """Return the part of an invoice that pays for others by their lines, less notes for them."""
    taken = crediting(rows, invoice.id)
    given = [one for one in rows.of(CreditNote) if one.invoice_id == invoice.id]
    for_others = [one for one in given if not is_of(one, invoice)]
    return less(_credited(taken), for_others)


def _credited(taken: Sequence[InvoiceLine]) -> Part:
    """Return what lines credit of another invoice, as a positive part."""
    taxes = {rate: -minor for rate, minor in _sums(taken).items()}
    return Part(-sum(one.total_minor for one in taken), taxes)


def waits(rows: Rows, invoice: Invoice) -> bool:
    """True while a draft credits a part of it: that draft may still be paid, or become void."""
    return any(
        rows.get(Invoice, one.invoice_id).status == "draft" for one in crediting(rows, invoice.id)
    )


def credited_by(rows: Rows, invoice: Invoice) -> dict[UUID, Part]:
    """Return the parts of other invoices that its lines credit, less notes on them for this one."""
    lines: dict[UUID, list[InvoiceLine]] = {}
    for one in rows.of(InvoiceLine):
        if one.invoice_id == invoice.id and one.credited_invoice_id is not None:
            lines.setdefault(one.credited_invoice_id, []).append(one)
    found = {}
    for source_id, taken in lines.items():
        given = [
            one
            for one in rows.of(CreditNote)
            if one.invoice_id == source_id and is_of(one, invoice)
        ]
        found[source_id] = less(_credited(taken), given)
    return found


def is_of(note: CreditNote, invoice: Invoice) -> bool:
    """True if the note credits a part of this invoice, even as a note on one that paid for it."""
    _, of, name = note.fact_key.rpartition(OF)
    return name == ids.encode(ids.INVOICE, invoice.id) if of else note.invoice_id == invoice.id


def less(charged: Part, notes: Sequence[CreditNote], taken: Sequence[InvoiceLine] = ()) -> Part:
    """Return `charged` without what notes, and negative lines of other invoices, have credited."""
    given, drawn = Counter[Rate](), _sums(taken)
    for one in notes:
        given.update(_at_its_rates(one, charged))
    back = sum(one.amount_minor for one in notes) - sum(one.total_minor for one in taken)
    taxes = {
        rate: max(0, minor - given[rate] + drawn[rate]) for rate, minor in charged.taxes.items()
    }
    return Part(max(0, charged.total_minor - back), taxes)


def _at_its_rates(note: CreditNote, charged: Part) -> Mapping[Rate, int]:
    """Return the taxes of a note at the rates of what it credits: one on an invoice that paid for
    it may have others.
    """
    taxes = _sums([note])
    if all(rate in charged.taxes for rate, minor in taxes.items() if minor):
        return taxes
    base = charged.added if note.amount_minor == note.tax_minor else charged
    return base.up_to(note.amount_minor).taxes


def added_by(charged: Part, country: str) -> Part:
    """Return the taxes of a country in it that are added to its price."""
    added = charged.added.taxes
    taxes = {
        rate: minor
        for rate, minor in added.items()
        if str(dict(rate)["jurisdiction"])[:2] == country
    }
    return Part(sum(taxes.values()), taxes)


def rate_of(tax: Mapping[str, Any]) -> Rate:
    """Return the rate of a tax, as it is on a line or note."""
    return tuple(sorted((name, value) for name, value in tax.items() if name != "amount_minor"))


def is_added(rate: Rate) -> bool:
    """True if the tax is added to the price; else the price includes it."""
    return not dict(rate)["inclusive"]


def _added(taxes: Mapping[Rate, int]) -> int:
    """Return the sum of the taxes that are added to the price."""
    return sum(minor for rate, minor in taxes.items() if is_added(rate))


def _sums(taxed: Sequence[InvoiceLine] | Sequence[CreditNote]) -> Counter[Rate]:
    sums = Counter[Rate]()
    for one in taxed:
        for tax in one.taxes:
            sums[rate_of(tax)] += tax["amount_minor"]
    return sums
