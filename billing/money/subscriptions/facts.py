"""The facts of a subscription's decisions beside its rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from pydantic import AwareDatetime

from billing.catalog.plans.schemas import Plan
from billing.core import keys
from billing.core.frozen import Frozen
from billing.core.money import round_exact
from billing.matters.effects import Rows
from billing.money.contracts.schemas import Contract
from billing.money.dunning.transitions import CollectFacts
from billing.money.invoices.arrears import Arrear
from billing.money.subscriptions.schemas import Offered, Subscription


class PlanLot(Frozen):
    """Credits of a plan that have not ended."""

    grant_key: str
    unspent: Decimal
    """Neither spent nor held."""
    kept: Decimal
    """All that were given, less what was taken back."""
    refunded: Decimal = Decimal(0)
    """Those that went with money that went back, spent or not."""
    rolls_over: bool = False
    """True if what is left of them lives on into the next cycle."""

    @property
    def origin(self) -> str:
        """The key of the whole grant, of which this lot may be a part."""
        return self.grant_key.removesuffix(keys.NOT_KEPT)


class Allowance(Frozen):
    """The units of a meter that the plan and its add-ons give in the open cycle."""

    meter: str
    included: Decimal
    used: Decimal
    """Of these; what was used beyond them is billed."""
    highest: Decimal | None = None
    """The highest reading of a level, which is held and not used up; None where a limit that was
    agreed stands before it.
    """

    @property
    def spent(self) -> Decimal:
        """Of the included units those that are needed for what was used."""
        return self.used if self.highest is None else min(self.highest, self.included)


class Spent(Frozen):
    """The charge of a line for the time from an instant on, in minor units."""

    invoice_id: UUID
    at: AwareDatetime
    net_minor: int
    """After discounts, before tax that is added."""
    total_minor: int
    """With that tax."""
    named_minor: int
    """The part of its total that notes which name lines took back."""
    spread_minor: int
    """Of all its invoice that part which other notes took back, of `rest_minor`."""
    rest_minor: int
    """The total of its invoice without what notes which name lines took back."""

    @property
    def exact(self) -> Fraction:
        """The amount before tax, less its share of what was taken back."""
        own = _left(self.named_minor, self.total_minor)
        return self.net_minor * own * _left(self.spread_minor, self.rest_minor)


def _left(gone_minor: int, of_minor: int) -> Fraction:
    """The share that is left of an amount."""
    if not gone_minor:
        return Fraction(1)
    return 1 - min(Fraction(1), Fraction(gone_minor, of_minor)) if of_minor else Fraction(0)


def sum_spent(charges: Iterable[Spent], since: datetime, until: datetime) -> int:
    """The sum charged for the time from `since` to `until`, rounded once."""
    return round_exact(sum((one.exact for one in charges if since <= one.at < until), Fraction(0)))


@dataclass(slots=True)
class SubscriptionFacts(CollectFacts):
    """Facts that a subscription meets beside its rows."""

    subscription_id: UUID = field(kw_only=True)
    plans: Mapping[UUID, Plan] = field(kw_only=True)
    """The plan versions that its rows name, by id."""
    offers: tuple[Offered, ...] = ()
    """The plan that a change asks for, with each of its prices."""
    lots: tuple[PlanLot, ...] = ()
    """Its plan's credits that are left, where a change may take some back."""
    keeps: bool = False
    """True if its account has credits that outlive their cycle, whichever plan brought them."""
    allowances: tuple[Allowance, ...] = ()
    """Of the open cycle, where a change may take some back."""
    used_share: Decimal = Decimal(0)
    """Of its cycle, the share that counts as used, where a decision may give time back."""
    account_zone: str | None = None
    """The zone that the account has by now; None: that of the subscription."""
    clock_at: datetime | None = None
    """The account's frozen test clock."""
    issuer_id: UUID | None = None
    credits_at_start: bool = False
    """True if a period's credits come with its start, not with its payment."""
    usage: tuple[Arrear, ...] = ()
    """Use beyond the plan that no invoice bills yet."""
    spent: tuple[Spent, ...] = ()
    """Of its period and its commitment, where there is a least."""
    contracts: tuple[Contract, ...] = ()
    """Agreed with the account for its period or later."""
    period_went_back: bool = False
    """True if all that was paid for the current period went back to its payer."""
    period_is_kept: bool = False
    """True if an operator let it run on all the same."""
    period_was_late: bool = False
    """True if the current period's invoice was held, and written after the period had ended."""

    @property
    def period_is_lost(self) -> bool:
        """True if it is not served any more: nobody has paid it, and nobody gave it away."""
        return self.period_went_back and not self.period_is_kept

    def plan_of(self, rows: Rows) -> Plan:
        """The plan version that the subscription has as the rows are."""
        return self.plans[rows.get(Subscription, self.subscription_id).plan_id]
