"""Plans as offers to a subscriber: what the given seats cost and include. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from billing.catalog.plans.schemas import Limit, Plan
from billing.catalog.rating.schemas import FREE, PriceTerms
from billing.core.money import exponent
from billing.insight.recommendations.schemas import MeterTerms, PlanOffer
from billing.money.subscriptions.periods import items, portions


class Cost(NamedTuple):
    """The price and the minimum of a period, in minor units."""

    amount_minor: int
    minimum_minor: int | None


def other(
    plan: Plan, quantity: int, each: Cost, agreed: Mapping[str, Limit], currency: str
) -> PlanOffer | None:
    """Return another plan for the current seats, or for one if it has no seats; None: not sold so.

    `each` has the price per seat, and the minimum for all seats.
    """
    seats = quantity if plan.seats is not None else 1
    if not items.sells(plan, seats):
        return None
    together = each._replace(amount_minor=each.amount_minor * seats)
    return had(plan, seats, together, agreed, currency)


def had(
    plan: Plan, quantity: int, together: Cost, agreed: Mapping[str, Limit], currency: str
) -> PlanOffer:
    """Return the offer of a plan for its seats at their total cost.

    Limits agreed with the account replace the plan's, whatever the seats.
    """
    included = portions.included(plan, quantity) | {
        meter: limit.included for meter, limit in agreed.items()
    }
    limits = {one.meter: one for one in plan.limits} | dict(agreed)
    return PlanOffer(
        key=plan.key,
        price=_whole(together.amount_minor, currency),
        least=_whole(together.minimum_minor or 0, currency),
        credits=items.seats_credits(plan, quantity),
        features=plan.features,
        limits={
            meter: MeterTerms(included[meter], _more(limit, currency))
            for meter, limit in limits.items()
        },
    )


def _whole(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-exponent(currency))


def _more(limit: Limit, currency: str) -> PriceTerms | None:
    """Return the price of units beyond a limit; None: no more are sold."""
    if limit.then == "notify":
        return FREE
    return limit.prices.get(currency) if limit.then == "overage" else None
