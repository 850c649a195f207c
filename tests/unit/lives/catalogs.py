"""Plans of lives, what is left of their credits, and promises about changes from one to another."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

from billing.catalog.plans.schemas import AddOn, DunningPolicy, Limit, Plan, Price, Rollover
from billing.catalog.rating.schemas import PriceTerms, Tier
from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.core.periods import MONTH, Interval
from billing.matters.effects import Do, Effect, Rows
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from billing.money.subscriptions.facts import PlanLot
from billing.money.subscriptions.schemas import Offered, PlanWish, SubscriptionChange
from tests.unit.lives.collections import BIRTH

ZONES: Final = ("UTC", "UTC", "America/New_York", "Europe/Berlin", "Pacific/Apia")
"""Without and with summer time; the last is a day ahead of the first."""
YEAR: Final = Interval(unit="year")
UNIT: Final = Decimal("0.0137")
TERMS: Final = (
    PriceTerms(unit_price=UNIT),
    PriceTerms(model="package", unit_price=Decimal("0.99"), package_size=Decimal(50)),
    *(
        PriceTerms(model=model, tiers=(Tier(up_to=Decimal(250), unit_price=UNIT),
                                       Tier(unit_price=UNIT / 2, flat_price=Decimal("0.1"))))
        for model in ("graduated", "volume")
    ),
)  # fmt: skip
"""Of use beyond the plan, in whole units of the currency."""
TAXED: Final = Taxation(
    seller="DE",
    country="AT",
    jurisdictions=(Jurisdiction(key="AT", name="USt", rates={"standard": Decimal(20)}),),
)
MORE: Final = AddOn(key="more", name="More", meter="calls", units=Decimal(900), prices={"EUR": 500})
# Of the plan, and what its credits are next to those of the plan Pro.
OTHERS: Final[dict[str, tuple[int, Decimal]]] = {
    "free": (0, Decimal(0)),
    "basic": (1900, Decimal("0.5")),
    "max": (9900, Decimal(3)),
}


def birth_of(dice: Random) -> datetime:
    """On any day of a month, in a leap year, in the night of a change of clocks."""
    return dice.choice(
        (
            BIRTH,
            BIRTH.replace(month=1, day=31),
            BIRTH.replace(month=3, day=13, hour=6, minute=30),
            BIRTH.replace(month=10, day=30, hour=23),
            BIRTH.replace(month=11, day=29, hour=0),
            datetime(2028, 2, 29, 12, tzinfo=UTC),
        )
    )


def plan_of(dice: Random, plan_id: UUID) -> Plan:
    """Use beyond it, add-ons, credits; how its dunning and its trial end is a matter of luck."""
    return Plan(
        id=plan_id, key="pro", version=1, family="pro", name="Pro", description="", features={},
        limits=(Limit(meter="calls", included=Decimal(10), then="overage",
                      prices={"EUR": dice.choice(TERMS)}),),
        add_ons=(MORE,), trial_days=dice.choice((14, 14, 75)),
        monthly_credits=Decimal(dice.choice((0, 100))),
        allowance=MONTH, past_due_access="full", rollover=Rollover(), position=0, is_active=True,
        trial_end_behavior=dice.choice(("cancel", "pause", "invoice")),
        dunning=DunningPolicy(final_action=dice.choice(("unpaid", "cancel", "uncollectible"))),
        is_current=True, created_at=BIRTH, stripe_product_id=None,
    )  # fmt: skip


def others_of(plan: Plan, ids: Any) -> dict[UUID, Plan]:
    """The plans there are: they differ in price and credits."""
    more = [
        plan.model_copy(
            update={"id": next(ids), "key": key, "monthly_credits": plan.monthly_credits * factor}
        )
        for key, (_, factor) in OTHERS.items()
    ]
    return {one.id: one for one in (plan, *more)}


def offers_of(plan: Plan, price_minor: int, born: datetime) -> tuple[Offered, ...]:
    """A plan per month and per year, at ten months' price."""
    minor = price_minor if plan.key == "pro" else OTHERS[plan.key][0]
    return tuple(
        Offered(
            plan=plan,
            price=Price(
                id=UUID(int=plan.id.int + (number << 64)), kind="plan", key=plan.key,
                currency="EUR", interval=interval, amount_minor=minor * months, version=1,
                stripe_price_id=None, is_current=True, created_at=born,
            ),
        )
        for number, (interval, months) in enumerate(((MONTH, 1), (YEAR, 10)), start=1)
    )  # fmt: skip


def wish_of(dice: Random) -> PlanWish:
    """Anything that a customer may want."""
    if dice.random() < 0.4:
        return PlanWish(
            add_ons={"more": count} if (count := dice.choice((0, 1, 1, 2, 3))) else {},
            when=dice.choice((None, "now", "now", "period_end")),
        )
    return PlanWish(
        add_ons=dice.choice((None, None, {}, {"more": 1}, {"more": 2})),
        plan=dice.choice((None, "pro", *OTHERS)),
        interval=dice.choice((None, None, MONTH, YEAR)),
        when=dice.choice((None, None, "now", "period_end")),
    )


class Lots:
    """The plan's credits: lots as they are granted, spent and taken back."""

    def __init__(self) -> None:
        self.left: dict[str, Decimal] = {}
        self.given: dict[str, Decimal] = {}
        self.ends: dict[str, datetime] = {}

    def take_in(self, effects: Sequence[Effect]) -> None:
        """The ledger's part of a decision."""
        for one in effects:
            match one:
                case Do("grant", lot) if lot["kind"] == "plan" and lot["key"] not in self.left:
                    self.left[lot["key"]] = self.given[lot["key"]] = lot["amount"]
                    self.ends[lot["key"]] = lot["expires_at"]
                case Do("clawback", taken):
                    assert taken["amount"] <= self.left[taken["grant_key"]], "more than is there"
                    self.left[taken["grant_key"]] -= taken["amount"]
                    self.given[taken["grant_key"]] -= taken["amount"]
                case _:
                    continue

    def spend(self, dice: Random, now: datetime) -> None:
        """Some of what is left."""
        for lot in self.lots(now):
            self.left[lot.grant_key] -= lot.unspent * dice.choice((0, 1, Decimal("0.25")))

    def lots(self, now: datetime) -> tuple[PlanLot, ...]:
        """The lots that are not over."""
        found = sorted(self.left, key=lambda key: (self.ends[key], key))
        return tuple(
            PlanLot(grant_key=key, unspent=self.left[key], kept=self.given[key])
            for key in found
            if self.ends[key] > now
        )

    def hold_true(self, plans: Mapping[UUID, Plan], now: datetime) -> None:
        """However often plans are flipped: a cycle's credits, and those of the one before."""
        live = sum((self.given[key] for key in self.given if self.ends[key] > now), Decimal(0))
        assert live <= 2 * max(one.monthly_credits for one in plans.values()), "credits for nothing"


def hold_true(rows: Rows) -> None:
    """Nothing is given back twice, and nobody has more money with us than came in."""
    applied = [one.invoice_id for one in rows.of(SubscriptionChange) if one.status == "applied"]
    replaced = set(applied[:-1])
    for invoice in rows.of(Invoice):
        notes = sum(one.amount_minor for one in rows.of(CreditNote) if one.invoice_id == invoice.id)
        own = sum(-one.amount_minor for one in _credits(rows) if one.invoice_id == invoice.id)
        drawn = sum(
            -one.amount_minor for one in _credits(rows) if one.detail["invoice"] == str(invoice.id)
        )
        most = max(invoice.total_minor, invoice.amount_due_minor) + own
        # What paid for another one comes back here when the time of that one is given back.
        most += sum(
            -one.amount_minor
            for one in _credits(rows)
            if one.detail["invoice"] == str(invoice.id) and one.invoice_id in replaced
        )
        assert notes + drawn <= most, "more is given back than was charged"
        _tax_goes_back_once(rows, invoice)
    came = sum(one.received_minor or 0 for one in rows.of(Payment) if one.settled_at)
    back = sum(one.amount_minor for one in rows.of(Refund) if one.status != "failed")
    balance = sum(one.amount_minor for one in rows.of(BalanceEntry))
    assert balance <= came - back, "money for nothing"


def _tax_goes_back_once(rows: Rows, invoice: Invoice) -> None:
    """No more than was charged; each credit of another invoice may round a cent."""
    charged = sum(
        one.tax_minor for one in rows.of(InvoiceLine)
        if one.invoice_id == invoice.id and one.kind != "proration"
    )  # fmt: skip
    noted = sum(one.tax_minor for one in rows.of(CreditNote) if one.invoice_id == invoice.id)
    drawn = [one for one in _credits(rows) if one.detail["invoice"] == str(invoice.id)]
    back = noted - sum(one.tax_minor for one in drawn)
    assert back <= charged + len(drawn), "more tax is given back than was charged"


def _credits(rows: Rows) -> list[InvoiceLine]:
    """Credit lines that count: those of a draft that was given up do not."""
    return [
        one
        for one in rows.of(InvoiceLine)
        if one.kind == "proration" and rows.get(Invoice, one.invoice_id).status != "void"
    ]


def cuts(rows: Rows) -> list[tuple[UUID, datetime]]:
    """Invoices of changes that began anew, with the instant from which each counts."""
    changed = {
        one.invoice_id for one in rows.of(SubscriptionChange)
        if one.kind in ("plan", "resume") and one.status == "applied"
    }  # fmt: skip
    return [
        (line.invoice_id, line.period_start)
        for line in rows.of(InvoiceLine)
        if line.kind == "plan" and line.invoice_id in changed and line.period_start is not None
    ]
