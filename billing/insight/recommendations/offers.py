"""Plans as a subscriber could have them: what so many seats cost and include. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from billing.catalog.plans.schemas import Limit, Plan
from billing.catalog.rating.schemas import PriceTerms
from billing.core.money import exponent
from billing.insight.recommendations.schemas import Offer, Terms
from billing.money.subscriptions import items, portions

_FREE: Final = PriceTerms()


def other(
    plan: Plan, quantity: int, unit_minor: int, agreed: Mapping[str, Limit], currency: str
) -> Offer | None:
    """Another plan for the seats there are, once where it is not sold by them; None: not sold so.

    Its price is per seat.
    """
    seats = quantity if plan.seats is not None else 1
    if not items.sells(plan, seats):
        return None
    return had(plan, seats, unit_minor * seats, agreed, currency)


def had(
    plan: Plan, quantity: int, amount_minor: int, agreed: Mapping[str, Limit], currency: str
) -> Offer:
    """A plan with its seats, which cost `amount_minor` together.

    What was agreed with the account goes before the plan's limits, whatever its seats.
    """
    included = portions.included(plan, quantity) | {
        meter: limit.included for meter, limit in agreed.items()
    }
    limits = {one.meter: one for one in plan.limits} | dict(agreed)
    return Offer(
        key=plan.key,
        price=Decimal(amount_minor).scaleb(-exponent(currency)),
        credits=items.seats_credits(plan, quantity),
        features=plan.features,
        limits={
            meter: Terms(included[meter], _more(limit, currency)) for meter, limit in limits.items()
        },
    )


def _more(limit: Limit, currency: str) -> PriceTerms | None:
    """The price of units beyond a limit; None: there are none."""
    if limit.then == "notify":
        return _FREE
    return limit.prices.get(currency) if limit.then == "overage" else None
