"""Seats and add-ons that stay when their number changes, with the discounts that they had. Pure.

Those that came last leave first: so more and then fewer of them leave each discount as it was
(docs/rules/subscriptions.md).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from billing.core.money import round_exact, show_decimal
from billing.money.invoices.schemas import InvoiceLine, Line
from billing.money.subscriptions.periods.proration import rest

STAYED: Final = "stayed"
"""In a line's detail: those of its pieces that were there before, in the order in which they came,
each `quantity` with its `discounts`.
"""


class Pieces(NamedTuple):
    """Pieces of a line that came together, with what is off them by code, in minor units."""

    quantity: Fraction
    off: dict[str, Fraction]

    def share(self, of_it: Fraction) -> dict[str, Fraction]:
        """Return this fraction of what is off them."""
        return {code: minor * of_it for code, minor in self.off.items()}


def keeping(line: Line, before: Sequence[InvoiceLine], at: datetime) -> Line:
    """Return the line that charges another number of seats, or fewer of an add-on. The pieces that
    stay keep the discounts that they were charged with `before`; coupons apply only to those added.
    """
    charged = sum((one.amount_minor * _rest_of(one, at) for one in before), Fraction(0))
    had = sum((Fraction(one.quantity) for one in before), Fraction(0))
    if not charged:
        return line
    wanted = Fraction(line.quantity)
    # The price of one piece for the rest may be another: days were added, or come free.
    price = (line.amount_minor / wanted) / (charged / had)
    kept, left = list[Pieces](), wanted
    for old in before:
        for pieces in _pieces(old):
            stays = min(left, pieces.quantity)
            left -= stays
            if stays:
                off = pieces.share(stays / pieces.quantity * price * _rest_of(old, at))
                kept.append(Pieces(stays, off))
    rounded = _rounded(kept)
    detail = line.detail
    if len(rounded) + bool(left) > 1:
        detail = detail | {STAYED: rounded}
    open_part = left / wanted
    return line.model_copy(
        update={"kept": _by_code(rounded), "open_part": open_part, "detail": detail}
    )


def _rounded(kept: Iterable[Pieces]) -> list[dict[str, Any]]:
    """Return the pieces as a line's detail has them. Their discounts are rounded together, so that
    they never take off more than all of the line.
    """
    found, taken = list[dict[str, Any]](), Fraction(0)
    for one in kept:
        discounts = list[dict[str, Any]]()
        for code, minor in one.off.items():
            own = round_exact(taken + minor) - round_exact(taken)
            taken += minor
            if own:
                discounts.append({"code": code, "amount_minor": own})
        number = Decimal(one.quantity.numerator) / one.quantity.denominator
        found.append({"quantity": show_decimal(number), "discounts": discounts})
    return found


def _by_code(rounded: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    sums = Counter[str]()
    for one in rounded:
        sums.update({taken["code"]: taken["amount_minor"] for taken in one["discounts"]})
    return tuple({"code": code, "amount_minor": minor} for code, minor in sums.items())


def _pieces(line: InvoiceLine) -> list[Pieces]:
    """Return the pieces of a line: those that had stayed, and those that came with it."""
    found = [_read(one["quantity"], one["discounts"]) for one in line.detail.get(STAYED, ())]
    new = _read(line.quantity, line.discounts)
    for one in found:
        off = {code: minor - one.off.get(code, 0) for code, minor in new.off.items()}
        new = Pieces(new.quantity - one.quantity, off)
    return [*found, new] if new.quantity else found


def _read(quantity: Any, discounts: Iterable[dict[str, Any]]) -> Pieces:
    off = {one["code"]: Fraction(one["amount_minor"]) for one in discounts}
    return Pieces(Fraction(quantity), off)


def _rest_of(line: InvoiceLine, at: datetime) -> Fraction:
    """Return the part of a line's time that is after `at`."""
    if line.period_start is None or line.period_end is None:
        return Fraction(0)
    return rest(line.period_start, line.period_end, at)
