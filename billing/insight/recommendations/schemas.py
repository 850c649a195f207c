"""Recommendations on how an account could save, each with its figures.

Money is exact decimals of whole currency units; credits are exact decimals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from billing.catalog.rating.schemas import PriceTerms
from billing.core.money import ZERO


@dataclass(frozen=True, slots=True)
class MeterTerms:
    """Units of a meter that a plan includes, and the price of more; None: no more are sold."""

    included: Decimal
    price: PriceTerms | None


@dataclass(frozen=True, slots=True)
class PlanOffer:
    """A plan as it could be bought: its price for a cycle, and what it includes."""

    key: str
    price: Decimal
    credits: Decimal
    features: Mapping[str, bool | int | str]
    limits: Mapping[str, MeterTerms]
    least: Decimal = ZERO
    """The minimum for a cycle, usage included."""


@dataclass(frozen=True, slots=True)
class CheaperPlan:
    """Another plan that would have cost less over whole cycles; `gives_up` names what it lacks."""

    plan: str
    current_plan: str
    cycles: int
    current_cost: Decimal
    cost: Decimal
    saving: Decimal
    currency: str
    gives_up: tuple[str, ...]
    units: Mapping[str, Decimal]
    """Units used of each limited meter in these cycles together."""
    kind: Literal["cheaper_plan"] = "cheaper_plan"


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits that expire at an instant, without those on hold."""

    id: str
    free: Decimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CreditsExpiring:
    """Credits of a lot that will expire at the usual daily use."""

    lot_id: str
    left: Decimal
    expiring: Decimal
    expires_at: datetime
    daily_use: Decimal
    kind: Literal["credits_expiring"] = field(default="credits_expiring")
