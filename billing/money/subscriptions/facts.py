"""The facts of a subscription's decisions beside its rows."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from billing.catalog.plans.schemas import Plan
from billing.money.dunning.transitions import CollectFacts
from billing.money.invoices.arrears import Arrear


@dataclass(slots=True)
class SubscriptionFacts(CollectFacts):
    """Facts that a subscription meets beside its rows."""

    subscription_id: UUID = field(kw_only=True)
    plan: Plan = field(kw_only=True)
    """The plan version it was sold with."""
    clock_at: datetime | None = None
    """The account's frozen test clock."""
    issuer_id: UUID | None = None
    credits_at_start: bool = False
    """True if a period's credits come with its start, not with its payment."""
    usage: tuple[Arrear, ...] = ()
    """Use beyond the plan that no invoice bills yet."""
    period_was_late: bool = False
    """True if the current period's invoice was held, and written after the period had ended."""
