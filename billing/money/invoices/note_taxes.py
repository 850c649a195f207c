"""The tax that a credit note gives back, by the rates of the invoice's lines. Pure.

Each rate is rounded once per note. The notes of an invoice give back no more of a rate than it
charged, and the one that completes it gives back all that is left.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from billing.core.money import round_exact
from billing.money.invoices.schemas import CreditNote, InvoiceLine

Rate = tuple[tuple[str, Any], ...]
"""A rate without its amount, as it stands on a line."""


def taxes_of_note(
    lines: Sequence[InvoiceLine],
    before: Sequence[CreditNote],
    amount_minor: int,
    named: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Each rate and the `amount_minor` of it that a note over so much gives back.

    `named` are the parts of lines that the note is about; without them it is about all of them.
    """
    total = sum(line.total_minor for line in lines)
    given = sum(note.amount_minor for note in before)
    charged, gone = _sums(lines), _sums(before)
    asked = _of_lines(lines, named) if named else {}
    found = []
    for rate, tax in charged.items():
        left = tax - gone.get(rate, 0)
        if given + amount_minor >= total:
            part = left
        elif named:
            part = round_exact(asked.get(rate, Fraction(0)))
        else:
            part = _up_to(tax, given + amount_minor, total) - _up_to(tax, given, total)
        if part := max(0, min(part, left)):
            found.append(dict(rate) | {"amount_minor": part})
    return found


def _sums(taxed: Sequence[InvoiceLine] | Sequence[CreditNote]) -> dict[Rate, int]:
    sums: dict[Rate, int] = {}
    for one in taxed:
        for tax in one.taxes:
            rate = _rate(tax)
            sums[rate] = sums.get(rate, 0) + tax["amount_minor"]
    return sums


def _of_lines(
    lines: Sequence[InvoiceLine], named: Sequence[Mapping[str, Any]]
) -> dict[Rate, Fraction]:
    """The exact tax in the named parts of lines."""
    by_position = {line.position: line for line in lines}
    sums: dict[Rate, Fraction] = {}
    for part in named:
        line = by_position[part["position"]]
        share = Fraction(part["amount_minor"], line.total_minor)
        for tax in line.taxes:
            rate = _rate(tax)
            sums[rate] = sums.get(rate, Fraction(0)) + tax["amount_minor"] * share
    return sums


def _up_to(tax_minor: int, given_minor: int, total_minor: int) -> int:
    """The tax in the first so many cents of the total: so the cents of many notes add up."""
    return round_exact(Fraction(tax_minor * given_minor, total_minor))


def _rate(tax: Mapping[str, Any]) -> Rate:
    return tuple(sorted((name, value) for name, value in tax.items() if name != "amount_minor"))
