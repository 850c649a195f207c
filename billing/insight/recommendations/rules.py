"""Ways to save: a plan that fits better, credits that are about to expire. Pure.

Advice is arithmetic on past usage: the figures beside it prove all of it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.catalog.rating import rules as rating
from billing.core import periods
from billing.core.money import ZERO, round_credits
from billing.insight.recommendations.schemas import CheaperPlan, CreditsExpiring, Lot, PlanOffer

CYCLES: Final = 3
LOOK_AHEAD: Final = timedelta(days=30)
Units = Mapping[str, Decimal]


def cost(offer: PlanOffer, units: Units) -> Decimal | None:
    """Return the cost of one cycle's usage under a plan, at least the plan's minimum.

    None: the plan allows less usage, or prices each use individually.
    """
    total = offer.price
    for meter, used in units.items():
        terms = offer.limits.get(meter)
        if terms is None or used <= terms.included:
            continue
        if terms.price is None or terms.price.percentage is not None:
            return None
        total += rating.cost(terms.price, used - terms.included)
    return max(total, offer.least)


def is_whole(start: datetime, end: datetime, zone: str, interval: periods.Interval) -> bool:
    """True if a cycle is a whole interval.

    A shorter month ends or begins it on its last day, so it is counted from either end.
    """
    first, last = (periods.to_wall(at, zone) for at in (start, end))
    return (
        periods.boundary(first, zone, interval, 1) == end
        or periods.boundary(last, zone, interval, -1) == start
    )


def cheaper(
    current: PlanOffer,
    others: Sequence[PlanOffer],
    cycles: Sequence[Units],
    currency: str,
    sold: Collection[str],
) -> CheaperPlan | None:
    """Return the plan that would have cost least over these cycles, if below the current one.

    Credits pay for use of the meters `sold` where a plan does not limit them: a plan without such
    a limit is left out if the current one covered the use.
    """
    paid = _together(current, cycles)
    if paid is None or not cycles:
        return None
    needed = {meter for units in cycles for meter, amount in units.items() if amount}
    covered = needed & current.limits.keys() & set(sold)
    known = [
        (sum_, offer)
        for offer in others
        if covered <= offer.limits.keys() and (sum_ := _together(offer, cycles)) is not None
    ]
    best, offer = min(known, key=lambda one: (one[0], one[1].key), default=(paid, current))
    if best >= paid:
        return None
    # Units and prices have twelve decimals.
    paid, best = rating.rounded(paid, currency), rating.rounded(best, currency)
    units: defaultdict[str, Decimal] = defaultdict(Decimal)
    for cycle in cycles:
        for meter, used in cycle.items():
            units[meter] += used
    return CheaperPlan(
        plan=offer.key,
        current_plan=current.key,
        cycles=len(cycles),
        current_cost=paid,
        cost=best,
        saving=paid - best,
        currency=currency,
        gives_up=gives_up(current, offer),
        units=dict(sorted(units.items())),
    )


def gives_up(current: PlanOffer, other: PlanOffer) -> tuple[str, ...]:
    """Return the features that the other plan lacks or has less of; `credits`: it has fewer."""
    lost = [
        name
        for name, value in current.features.items()
        if not _covers(other.features.get(name), value)
    ]
    return tuple(sorted([*lost, *(["credits"] if other.credits < current.credits else [])]))


def expiring(lots: Sequence[Lot], daily: Decimal, now: datetime) -> list[CreditsExpiring]:
    """Return the part of each lot that expires within 30 days at `daily` use, soonest first."""
    found, spent = [], ZERO
    for lot in sorted(lots, key=lambda one: (one.expires_at, one.id)):
        if not now < lot.expires_at <= now + LOOK_AHEAD:
            continue
        days = Decimal((lot.expires_at - now) // timedelta(seconds=1)) / 86_400
        burnt = min(lot.free, max(ZERO, daily * days - spent))
        spent += burnt
        expiring = round_credits(lot.free - burnt)
        if expiring > 0:
            use = round_credits(daily)
            found.append(CreditsExpiring(lot.id, lot.free, expiring, lot.expires_at, use))
    return found


def _together(offer: PlanOffer, cycles: Sequence[Units]) -> Decimal | None:
    costs = [cost(offer, units) for units in cycles]
    return None if None in costs else sum((one for one in costs if one is not None), ZERO)


def _covers(other: bool | int | str | None, value: bool | int | str) -> bool:
    if isinstance(value, str):
        return other == value
    return not value or (isinstance(other, int) and other >= value)
