"""An agreement with one account: prices of plans, way of payment, and minimum spend."""

from collections.abc import Collection
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.plans.schemas import Limit
from billing.core.frozen import Frozen
from billing.core.periods import Interval

EarlyEnd = Literal["charge", "forgive"]
"""The rule for the missing amount when a subscription ends before its commitment."""
Lost = Literal["prices", "commitment", "limits"]
"""A part of a contract that is in another currency than its account's."""


class ContractPrice(Frozen):
    """The price of a plan for this account, per interval, as a version of the plan's prices."""

    price_id: UUID
    plan: str
    interval: Interval
    currency: str
    amount_minor: int
    minimum_minor: int | None = None


class CommitmentTerms(Frozen):
    """The minimum spend of a subscription over its first `periods` under a contract."""

    amount_minor: int
    currency: str
    periods: int
    on_early_end: EarlyEnd = "charge"


def lost_in(
    currency: str,
    priced_in: Collection[str],
    commitment: CommitmentTerms | None,
    limits: Collection[Limit],
) -> Lost | None:
    """Return what of a contract would never count for an account of this currency: its prices, if
    none is in it, its commitment, or the overage of a limit, which would block instead.
    """
    if priced_in and currency not in priced_in:
        return "prices"
    if commitment is not None and commitment.currency != currency:
        return "commitment"
    if any(one.then == "overage" and currency not in one.prices for one in limits):
        return "limits"
    return None


class ContractTerms(Frozen):
    """The terms of a contract; for anything left out the general terms apply."""

    prices: tuple[ContractPrice, ...] = ()
    limits: tuple[Limit, ...] = ()
    collection: Literal["charge", "send_invoice"] | None = None
    net_days: int | None = None
    commitment: CommitmentTerms | None = None

    def price_of(self, plan: str, interval: Interval, currency: str) -> ContractPrice | None:
        """Return the agreed price of a plan, if there is one."""
        wanted = (plan, interval, currency)
        found = (one for one in self.prices if (one.plan, one.interval, one.currency) == wanted)
        return next(found, None)

    def currency_of(self, plan: str, interval: Interval) -> str | None:
        """Return the currency in which an account that has none yet buys a plan, if one is agreed.

        It is that of the plan's price; of several, the commitment's, else the default one. Without
        a price of the plan it is the commitment's, else that of another price.
        """
        agreed = [
            one.currency for one in self.prices if (one.plan, one.interval) == (plan, interval)
        ]
        committed = [self.commitment.currency] if self.commitment is not None else []
        preferred = [one for one in (*committed, DEFAULT_CURRENCY) if one in agreed]
        others = sorted(
            {one.currency for one in self.prices}, key=lambda one: one != DEFAULT_CURRENCY
        )
        return next(iter(preferred + agreed + committed + others), None)

    def lost_in(self, currency: str) -> Lost | None:
        """Return what would never count for an account of this currency; None: all would."""
        priced_in = [one.currency for one in self.prices]
        return lost_in(currency, priced_in, self.commitment, self.limits)


class Contract(Frozen):
    """A row of `contracts`: one version of an agreement, from one instant to another."""

    id: UUID
    account_id: UUID
    reference: str | None = None
    terms: ContractTerms
    effective_from: AwareDatetime
    effective_to: AwareDatetime | None = None
    created_at: AwareDatetime

    def holds_at(self, at: datetime) -> bool:
        """True if the contract is in force at an instant."""
        ends = self.effective_to
        return self.effective_from <= at and (ends is None or at < ends)
