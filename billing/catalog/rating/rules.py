"""The price of usage: what a quantity costs after earlier use in the cycle. Pure and exact.

`usage_charge_after`, `usage_charge_units`, `usage_charge_use`, `usage_cost`, `usage_highest` and
`usage_round` of metering/usage are the same rules for the hot path; a test compares them.
"""

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal, localcontext
from itertools import pairwise
from typing import Final

from billing.catalog.rating.schemas import (
    BY_CARD,
    BY_CREDITS,
    BY_PAID_CREDITS,
    BY_PLAN,
    CREDIT,
    MOST_AMOUNT,
    BillingMethod,
    IncludedUnits,
    Part,
    Percentage,
    PriceTerms,
    Rating,
    Tier,
)
from billing.core.errors import Invalid
from billing.core.money import CREDIT_STEP, ZERO
from billing.platform.accounts.schemas import Preference

# Products of two numbers with 27 digits each are exact.
EXACT: Final = Context(prec=60)
MONEY_STEP: Final = Decimal("0.000000000001")
MOST_CREDITS: Final = Decimal(10) ** 12
MOST_MONEY: Final = Decimal(10) ** 9
"""The maximum cost of one use, in credits and in whole units of any currency (`usage_most_cost` in
SQL).
"""
TOO_DEAR: Final = "one use can cost at most 10^12 credits or 10^9 units of a currency"


def cost(terms: PriceTerms, units: Decimal) -> Decimal:
    """Return the total cost of the first `units` of a cycle, unrounded."""
    with localcontext(EXACT):
        return sum((part.amount for part in parts(terms, units)), ZERO)


def parts(terms: PriceTerms, units: Decimal) -> tuple[Part, ...]:
    """Split the first `units` of a cycle by their price; free units come first.

    For packages, a part's `units` counts packages. For a percentage, where each use has its own
    price, the units are treated as one use after the free ones.
    """
    with localcontext(EXACT):
        paid = max(ZERO, units - terms.free_units)
        free = [_part(units - paid, ZERO)] if units > paid else []
        return (*free, *(_paid_parts(terms, paid) if paid else []))


def _paid_parts(terms: PriceTerms, paid: Decimal) -> list[Part]:
    if terms.percentage is not None:
        return [_share(terms.percentage, paid)]
    match terms.model:
        case "flat":
            return [_part(paid, ZERO, terms.unit_price)]
        case "per_unit":
            return [_part(paid, terms.unit_price)]
        case "package":
            packages = (paid / terms.package_size).to_integral_value(ROUND_CEILING)
            return [_part(packages, terms.unit_price)]
        case "graduated":
            return list(_graduated(terms.tiers, paid))
        case "volume":
            tier = next(t for t in terms.tiers if t.up_to is None or paid <= t.up_to)
            return [_part(paid, tier.unit_price, tier.flat_price)]
        case "percentage":
            raise ValueError("a price by percentage has one")


def _share(by: Percentage, value: Decimal) -> Part:
    """Price one use of this value; what its bounds add or subtract goes into the flat price."""
    each = by.percent / 100
    amount = max(by.minimum, by.fixed_price + value * each)
    amount = amount if by.maximum is None else min(amount, by.maximum)
    return Part(value, each, amount - value * each, amount)


def _graduated(tiers: Sequence[Tier], paid: Decimal) -> Iterator[Part]:
    start = ZERO
    for tier in tiers:
        if paid <= start:
            break
        end = paid if tier.up_to is None else min(paid, tier.up_to)
        yield _part(end - start, tier.unit_price, tier.flat_price)
        start = end


def _part(units: Decimal, unit_price: Decimal, flat_price: Decimal = ZERO) -> Part:
    return Part(units, unit_price, flat_price, flat_price + units * unit_price)


def charge(
    terms: PriceTerms,
    before: Decimal,
    units: Decimal,
    currency: str = CREDIT,
    *,
    paid: Decimal = ZERO,
    uses: int | None = None,
) -> Decimal:
    """Return the cost of `units` after `before`, rounded once; never negative.

    The total of a volume price falls where a cheaper tier is reached. Then nothing is refunded, and
    later units cost only what exceeds `paid`, the cost of the earlier units. For a percentage, the
    units are one use after `uses` others (None: after all free ones).
    """
    if terms.percentage is not None:
        return rounded(_use(terms, terms.percentage, before, units, uses), currency)
    with localcontext(EXACT):
        total, known = cost(terms, before + units), cost(terms, before)
        if terms.model != "volume":
            return rounded(max(ZERO, total - known), currency)
        # At most what this price can have cost: earlier units may have cost more under another.
        covered = min(paid, rounded(highest(terms, before), currency))
        return max(ZERO, rounded(total, currency) - max(rounded(known, currency), covered))


def _use(
    terms: PriceTerms, by: Percentage, before: Decimal, units: Decimal, uses: int | None
) -> Decimal:
    """Price one use by its value; a free use, or one within the free units, has no fixed part."""
    with localcontext(EXACT):
        value = min(units, before + units - terms.free_units)
        if value <= 0 or (uses is not None and uses < terms.free_transactions):
            return ZERO
        return _share(by, value).amount


def highest(terms: PriceTerms, units: Decimal) -> Decimal:
    """Return the maximum cost of any quantity up to `units`; only a volume price ever falls."""
    if terms.model != "volume":
        return cost(terms, units)
    ends = (
        units if t.up_to is None else min(units, terms.free_units + t.up_to) for t in terms.tiers
    )
    return max(cost(terms, end) for end in ends)


def lowest(terms: PriceTerms, units: Decimal) -> Decimal:
    """Return the minimum cost of `units` or more: a volume price may still fall."""
    later = falls_to(terms, units)
    return later.amount if later is not None else cost(terms, units)


def falls_to(terms: PriceTerms, units: Decimal) -> Part | None:
    """Return the minimum of a volume price beyond `units`, at the beginning of a later tier; None
    if it is never below the cost of `units`.
    """
    with localcontext(EXACT):
        paid = units - terms.free_units
        if terms.model != "volume" or paid <= 0:
            return None
        later = (
            _part(tier.up_to, then.unit_price, then.flat_price)
            for tier, then in pairwise(terms.tiers)
            if tier.up_to is not None and tier.up_to >= paid
        )
        least = min(later, key=lambda one: one.amount, default=None)
        return least if least is not None and least.amount < cost(terms, units) else None


def rounded(amount: Decimal, currency: str = CREDIT) -> Decimal:
    """Round credits to six decimals and money to twelve; invoice lines round to minor units."""
    step = CREDIT_STEP if currency == CREDIT else MONEY_STEP
    with localcontext(EXACT):
        return amount.quantize(step, rounding=ROUND_HALF_UP)


def rate(
    quantity: Decimal,
    terms: PriceTerms,
    *,
    before: Decimal = ZERO,
    paid: Decimal = ZERO,
    uses: int | None = None,
    allowance: IncludedUnits | None = None,
    currency: str = CREDIT,
) -> Rating:
    """Rate a quantity: the plan's allowance first, then the product's free units, then its price.

    `before` counts the units of the cycle that the product's terms already priced [F12], `paid`
    is their cost, `uses` their number of uses. Errors: USAGE_TOO_LARGE, as in usage_rate_uses.sql.
    """
    left = max(ZERO, allowance.included - allowance.used) if allowance else ZERO
    included = min(quantity, left)
    charged = quantity - included
    total = charge(terms, before, charged, currency, paid=paid, uses=uses)
    if total > (MOST_CREDITS if currency == CREDIT else MOST_MONEY):
        raise Invalid("USAGE_TOO_LARGE", TOO_DEAR)
    return Rating(
        quantity=quantity,
        included=included,
        charged=charged,
        total=total,
        unit_price=unit_price(terms, charged, total),
        is_free_tier=charged > 0 and total == 0,
        is_included=charged == 0,
    )


def unit_price(terms: PriceTerms, charged: Decimal, total: Decimal) -> Decimal:
    """Return the unit price to show: the terms' own, or the average where units differ. Of no
    charged unit it is that of a package by its size, and zero if the units beyond decide it.
    """
    if terms.is_plain:
        return terms.unit_price
    with localcontext(EXACT):
        if not charged:
            match terms.model:
                case "per_unit":
                    return terms.unit_price
                case "package":
                    each = terms.unit_price / terms.package_size
                    return each.quantize(MONEY_STEP, rounding=ROUND_HALF_UP)
                case "flat" | "graduated" | "volume" | "percentage":
                    return ZERO
        average = (total / charged).quantize(MONEY_STEP, rounding=ROUND_HALF_UP)
        return min(average, MOST_AMOUNT)


def methods(
    rating: Rating,
    *,
    paid_credits: Decimal,
    free_credits: Decimal,
    chargeable: bool,
    preferred: Preference | None = None,
    entitled: bool = True,
    by_plan: bool = False,
) -> tuple[BillingMethod, tuple[BillingMethod, ...]]:
    """Return the (suggested, available) ways to pay for a quantity priced in credits [F10, F26].

    The wallet holds bought credits. Free credits are offered if there are any, a card only if it
    can be charged. The suggested method is the preferred one if it suffices, else the first that
    does. A plan takes what costs nothing, if the account has one (`entitled`), and comes first if
    it sells the use beyond what it includes (`by_plan`).
    """
    if rating.total == 0 and entitled and not by_plan:
        return BY_PLAN, (BY_PLAN,)
    available: list[BillingMethod] = [BY_PLAN] if by_plan else []
    available.append(BY_PAID_CREDITS)
    if free_credits > 0:
        available.append(BY_CREDITS)
    if chargeable:
        available.append(BY_CARD)
    funds = {BY_PAID_CREDITS: paid_credits, BY_CREDITS: paid_credits + free_credits}
    paying = [way for way in available if way not in funds or funds[way] >= rating.total]
    if preferred in paying:
        return preferred, tuple(available)
    return (paying or available)[0], tuple(available)
