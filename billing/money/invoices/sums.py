"""The sums of an invoice: discounts off its lines, then tax on the rest, spread exactly. Pure.

Each discount and each tax is rounded once, and spread over its lines by largest remainder: so the
lines add up to the invoice (docs/rules/money.md).
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

from billing.catalog.taxes.rules import rates
from billing.catalog.taxes.schemas import Taxation, TaxRate
from billing.core.money import round_exact, round_minor, split
from billing.money.discounts.schemas import DiscountTerms
from billing.money.invoices.arrears import USAGE
from billing.money.invoices.schemas import Line

NO_TAX: Final = Taxation()
MINIMUM: Final = "minimum"
COMMITMENT: Final = "commitment"
USED_MEANWHILE: Final = "used_meanwhile"
"""Use of what a change credits while it waited for its payment."""
UNDISCOUNTED: Final = (MINIMUM, COMMITMENT, USED_MEANWHILE)
"""Kinds of lines that are never discounted: their amounts are computed after discounts."""
LINE_TOTAL: Final = "l.amount_minor - l.discount_minor + l.tax_minor - l.tax_included_minor"
"""The amount to be paid for the line `l` of a query, as `InvoiceLine.total_minor`;
usage_lost_to_banks computes the same."""


class SummedLine(NamedTuple):
    """A line with its part of every discount and tax, in minor units."""

    line: Line
    discounts: tuple[dict[str, Any], ...]
    """Each `code` and the `amount_minor` it takes off."""
    taxes: tuple[dict[str, Any], ...]
    """Each rate and its `amount_minor`."""
    discount_minor: int
    tax_minor: int
    tax_included_minor: int
    """The part of the tax that the line's amount includes."""

    @property
    def total_minor(self) -> int:
        """The amount to be paid for the line."""
        added = self.tax_minor - self.tax_included_minor
        return self.line.amount_minor - self.discount_minor + added


def sum_lines(
    lines: Sequence[Line],
    discounts: Sequence[DiscountTerms] = (),
    taxation: Taxation = NO_TAX,
    currency: str = "",
) -> list[SummedLine]:
    """Return the lines after discounts and tax, in their order."""
    off = _discounted(lines, discounts)
    net = [
        line.amount_minor - sum(one["amount_minor"] for one in taken)
        for line, taken in zip(lines, off, strict=True)
    ]
    asked = [
        rates(taxation, line.tax_category, currency) if line.taxes is None else line.taxes
        for line in lines
    ]
    taxed = [
        [*found, *line.tax_left] for line, found in zip(lines, _taxed(asked, net), strict=True)
    ]
    return [
        SummedLine(
            line=line,
            discounts=tuple(taken),
            taxes=tuple(taxes),
            discount_minor=sum(one["amount_minor"] for one in taken),
            tax_minor=sum(one["amount_minor"] for one in taxes),
            tax_included_minor=sum(one["amount_minor"] for one in taxes if one["inclusive"]),
        )
        for line, taken, taxes in zip(lines, off, taxed, strict=True)
    ]


def after_discounts(lines: Sequence[Line], discounts: Sequence[DiscountTerms]) -> tuple[Line, ...]:
    """Return the lines, each with what its discounts leave of its amount."""
    return tuple(
        one.line.model_copy(update={"amount_minor": one.line.amount_minor - one.discount_minor})
        for one in sum_lines(lines, discounts)
    )


def _discounted(
    lines: Sequence[Line], discounts: Sequence[DiscountTerms]
) -> list[list[dict[str, Any]]]:
    """Return each line's discounts: those off fewer kinds of lines first, each on what earlier ones
    have left. Seats and add-ons that stay keep theirs.
    """
    left = [round_exact(line.amount_minor * line.open_part) for line in lines]
    off: list[list[dict[str, Any]]] = [list(line.kept) for line in lines]
    for one in sorted(discounts, key=lambda discount: (not discount.kinds, len(discount.kinds))):
        places = [i for i, line in enumerate(lines) if _covers(one, line) and left[i] > 0]
        base = sum(left[i] for i in places)
        taken = min(base, _size(one, base))
        if taken <= 0:
            continue
        for i, part in zip(places, split(taken, [left[i] for i in places]), strict=True):
            if part:
                left[i] -= part
                off[i] = _add_part(off[i], one.code, part)
    return off


def _add_part(off: list[dict[str, Any]], code: str, part: int) -> list[dict[str, Any]]:
    """Return a line's discounts with one more part of a coupon; seats that keep their discounts may
    have a part of the same one already.
    """
    kept = sum(one["amount_minor"] for one in off if one["code"] == code)
    others = [one for one in off if one["code"] != code]
    return [*others, {"code": code, "amount_minor": kept + part}]


def _covers(discount: DiscountTerms, line: Line) -> bool:
    """True if the discount applies to the line; a credit line is never discounted."""
    may_be = line.amount_minor > 0 and line.kind not in UNDISCOUNTED
    may_be = may_be and (not discount.kinds or line.kind in discount.kinds)
    may_be = may_be and (not discount.sold or line.sold in discount.sold)
    may_be = may_be and (discount.use_until is None or line.kind == USAGE)
    return may_be and not _is_other_use(line, discount.use_since, discount.use_until)


def _is_other_use(line: Line, since: datetime | None, until: datetime | None) -> bool:
    """True for use of a cycle that began before a coupon's change, or after its last period."""
    begun = line.period_start if line.kind == USAGE else None
    if begun is None:
        return False
    return (since is not None and begun < since) or (until is not None and begun >= until)


def _size(discount: DiscountTerms, base_minor: int) -> int:
    if discount.percent is not None:
        return round_minor(base_minor * discount.percent / 100)
    return discount.amount_minor or 0


def _taxed(asked: Sequence[tuple[TaxRate, ...]], net: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Return the taxes of each line: one sum per rate over all its lines, rounded once."""
    exact: dict[TaxRate, list[tuple[int, Fraction]]] = defaultdict(list)
    for i, found in enumerate(asked):
        if not found:
            continue
        whole = 100 + sum((Fraction(one.rate) for one in found if one.inclusive), Fraction(0))
        for one in found:
            base = whole if one.inclusive else 100
            exact[one].append((i, net[i] * Fraction(one.rate) / base))
    taxes: list[list[dict[str, Any]]] = [[] for _ in asked]
    for rate, parts in exact.items():
        for (i, _), part in zip(parts, _spread([share for _, share in parts]), strict=True):
            taxes[i].append(rate.model_dump(mode="json") | {"amount_minor": part})
    return taxes


def _spread(shares: Sequence[Fraction]) -> list[int]:
    """Return integers that sum to the rounded sum of the shares, by largest remainder."""
    parts = [share.numerator // share.denominator for share in shares]
    missing = round_exact(sum(shares, Fraction(0))) - sum(parts)
    order = sorted(range(len(shares)), key=lambda i: (parts[i] - shares[i], i))
    for i in order[:missing]:
        parts[i] += 1
    return parts
