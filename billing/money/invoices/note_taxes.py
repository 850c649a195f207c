"""The tax that a credit note credits, by the rates of the invoice's lines. Pure.

Each rate is rounded once per note, and the note that completes its invoice credits all the tax that
is left.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from billing.core.money import round_exact
from billing.money.invoices.giving_back import Part, Rate, rate_of
from billing.money.invoices.schemas import InvoiceLine


def taxes_of_note(
    left: Part,
    amount_minor: int,
    lines: Sequence[InvoiceLine] = (),
    named: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return each rate with its `amount_minor` in a note over this amount of what is left.

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
    return Part(amount_minor, found).as_rows


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
