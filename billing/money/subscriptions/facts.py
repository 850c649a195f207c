"""Facts of a subscription's decisions, in addition to its rows."""

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
from billing.core.money import ZERO, round_exact
from billing.matters.effects import Rows, Work
from billing.money.collecting.facts import CollectFacts
from billing.money.contracts.schemas import Contract
from billing.money.invoices.arrears import Arrear
from billing.money.subscriptions.free_grants import FreeGrant
from billing.money.subscriptions.schemas import Offered, Subscription


class PlanLot(Frozen):
    """A lot of plan credits that has not expired."""

    grant_key: str
    granted: Decimal = ZERO
    """The credits that it began with."""
    unspent: Decimal
    """Neither spent nor held."""
    kept: Decimal
    """The credits granted, less those clawed back."""
    refunded: Decimal = ZERO
    """Credits taken by a refund or dispute, spent or not."""
    made_up: Decimal = ZERO
    """Those of them that a later change of plan has made up for."""
    is_cut: bool = False
    """True if a change of plan has cut its cycle since, and credited the rest of it."""
    rolls_over: bool = False
    """True if its unspent credits roll over into the next cycle."""

    @property
    def missing(self) -> Decimal:
        """The refunded credits that no change of plan has made up for."""
        return max(ZERO, self.refunded - self.made_up)

    @property
    def origin(self) -> str:
        """The key of the whole grant, of which this lot may be a part."""
        return self.grant_key.removesuffix(keys.NOT_KEPT)


class Allowance(Frozen):
    """The units of a meter that the plan and its add-ons give in the open cycle."""

    meter: str
    included: Decimal
    used: Decimal
    """The included units that are used; use beyond them is billed."""
    quantity: Decimal
    """All that was used; of a level its highest reading."""
    is_agreed: bool
    """True if a limit that was agreed with the account replaces the plan's."""
    highest: Decimal | None = None
    """For a level: its highest reading. None for other meters, and where an agreed limit replaces
    the plan's.
    """

    @property
    def spent(self) -> Decimal:
        """The included units needed for the use so far."""
        return self.used if self.highest is None else min(self.highest, self.included)

    def spent_of(self, gone: Decimal) -> Decimal:
        """Return how many of these units are needed for the use so far, the others first."""
        return min(gone, max(ZERO, self.spent - self.included + gone))


class Spent(Frozen):
    """The charge of a line for the time from an instant on, in minor units."""

    invoice_id: UUID
    at: AwareDatetime
    net_minor: int
    """After discounts, before tax that is added."""
    total_minor: int
    """With that tax."""
    named_minor: int
    """The part of its total that notes naming lines have credited."""
    spread_minor: int
    """The part of the `rest_minor` that other notes have credited; none of a line that credits time
    of another invoice, because that time's money paid this one.
    """
    rest_minor: int
    """The charges of its invoice, less what notes naming lines have credited."""

    @property
    def exact(self) -> Fraction:
        """The amount before tax, less its share of what was credited."""
        own = _left(self.named_minor, self.total_minor)
        return self.net_minor * own * _left(self.spread_minor, self.rest_minor)


def _left(gone_minor: int, of_minor: int) -> Fraction:
    """Return the share of an amount that is left."""
    if not gone_minor:
        return Fraction(1)
    return 1 - min(Fraction(1), Fraction(gone_minor, of_minor)) if of_minor else Fraction(0)


def sum_spent(charges: Iterable[Spent], since: datetime, until: datetime) -> int:
    """The sum charged for the time from `since` to `until`, rounded once."""
    return round_exact(sum((one.exact for one in charges if since <= one.at < until), Fraction(0)))


@dataclass(slots=True)
class SubscriptionFacts(CollectFacts):
    """Facts of a subscription's decision, in addition to its rows."""

    subscription_id: UUID = field(kw_only=True)
    plans: Mapping[UUID, Plan] = field(kw_only=True)
    """The plan versions that its rows name, by id."""
    offers: tuple[Offered, ...] = ()
    """The plan that a change asks for, with each of its prices."""
    lots: tuple[PlanLot, ...] = ()
    """The plan's credits that are left, if the decision may take some back."""
    free_grants: tuple[FreeGrant, ...] = ()
    """Credits that plans without a price granted within a year."""
    keeps: bool = False
    """True if the account has credits that roll over, whichever plan granted them."""
    allowances: tuple[Allowance, ...] = ()
    """Allowances of the open cycle, if a change may reduce them."""
    sold_meters: tuple[str, ...] = ()
    """Meters whose use products sell, if a change may include less of them."""
    used_share: Decimal = ZERO
    """The share of the cycle that counts as used, if the decision may credit time."""
    owes_change: bool = False
    """True while `unpaid` if a change of plan in the cycle that was served last is not paid: it
    granted its credits at once.
    """
    account_zone: str | None = None
    """The account's current zone; None: that of the subscription."""
    issuer_id: UUID | None = None
    credits_at_start: bool = False
    """True if a period's credits are granted at its start, not with its payment."""
    usage: tuple[Arrear, ...] = ()
    """Overage that no invoice bills yet."""
    spent: tuple[Spent, ...] = ()
    """Charges for the period and the commitment, if there is a minimum."""
    contracts: tuple[Contract, ...] = ()
    """The account's contracts for the current period or later; for a change of plan or price also
    the one with the current price.
    """
    period_went_back: bool = False
    """True if what was paid for the current period went back to its payer."""
    period_is_lost: bool = False
    """True if the period is not served any more: its money went back, and not as a gift."""
    period_was_late: bool = False
    """True if the current period's invoice was held, and written after the period had ended."""

    def plan_of(self, rows: Rows) -> Plan:
        """Return the subscription's plan version, as the rows are."""
        return self.plans[rows.get(Subscription, self.subscription_id).plan_id]


def subscription_of(w: Work[SubscriptionFacts]) -> Subscription:
    """Return the subscription that the work decides about, as it is by now."""
    return w.rows.get(Subscription, w.facts.subscription_id)
