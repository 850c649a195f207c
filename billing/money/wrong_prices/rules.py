"""The part of a line that a lower price would not have charged, with its tax. Pure."""

from collections.abc import Collection
from fractions import Fraction

from billing.core.money import round_exact
from billing.money.invoices.schemas import InvoiceLine
from billing.money.subscriptions.periods.proration import share


def overcharged(line: InvoiceLine, right_minor: int, fixed: Collection[str]) -> int:
    """Return the part of a line's total that the right price of a seat would not have charged.

    A coupon in `fixed` takes off its amount whatever the price is; any other a percentage.
    """
    part = Fraction(line.detail.get("share", 1))
    left = share(int(line.quantity) * right_minor, part)
    before, net = line.amount_minor, line.amount_minor - line.discount_minor
    if left >= before or net <= 0:
        return 0
    for one in line.discounts:
        taken = one["amount_minor"]
        off = taken if one["code"] in fixed else round_exact(Fraction(left * taken, before))
        before, left = before - taken, max(0, left - off)
    return round_exact(Fraction(line.total_minor * (net - left), net))
