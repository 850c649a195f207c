"""Compare a wanted catalog with the current one; pure.

Each change describes itself for people and carries what has to be written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from billing.catalog.payment_kinds import changes as kind_changes
from billing.catalog.payment_kinds.changes import PaymentKindChange
from billing.catalog.payment_kinds.schemas import PaymentKind
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import CreditCost, Pack, Plan, Price
from billing.catalog.plans.spec import CatalogSpec, CostSpec, PackSpec, PlanSpec, PriceSpec
from billing.catalog.products import changes as product_changes
from billing.catalog.products.changes import KeyedChange, Metering, MeteringChange
from billing.catalog.taxes import changes as tax_changes
from billing.catalog.taxes.changes import CurrentTaxes, TaxChange
from billing.core.money import show_decimal, show_money
from billing.core.periods import Interval

# A change in one of these is a new version of the plan; the rest is changed in place.
VERSIONED: Final = (
    "family", "name", "description", "features", "limits", "add_ons", "seats", "trial_days",
    "monthly_credits", "billing_threshold", "allowance", "past_due_access", "unpaid_limit",
    "trial_end_behavior", "unpaid_days", "dunning", "rollover", "notices",
    "tax_category", "stripe_product_id",
)  # fmt: skip

PriceKey = tuple[Literal["plan", "pack"], str, str, Interval | None]
"""(kind, key, currency, interval)."""


@dataclass(frozen=True)
class Held:
    """Open subscriptions that pay the same for a seat and at least, and their seats."""

    unit_minor: int
    subscriptions: int
    seats: int
    minimum_minor: int | None = None


@dataclass(frozen=True)
class Sold:
    """Open subscriptions on one price, by the cost of a seat under its current or older version."""

    held: tuple[Held, ...] = ()

    @property
    def subscriptions(self) -> int:
        """The number of open subscriptions."""
        return sum(one.subscriptions for one in self.held)

    def but(self, price: PriceSpec) -> "Sold":
        """Return the subscriptions that have another price for a seat, or another minimum."""
        terms = (price.amount_minor, price.minimum_minor)
        others = (one for one in self.held if (one.unit_minor, one.minimum_minor) != terms)
        return Sold(tuple(others))


@dataclass(frozen=True)
class Current:
    """The catalog as the database has it."""

    plans: Mapping[str, Plan]
    packs: Mapping[str, Pack]
    costs: Mapping[str, CreditCost]
    prices: Mapping[PriceKey, Price]
    sold: Mapping[PriceKey, Sold]
    metering: Metering
    taxes: CurrentTaxes
    payment_kinds: Mapping[str, PaymentKind]
    default_plan: str | None = None


@dataclass(frozen=True)
class PlanChange(KeyedChange[Plan, PlanSpec]):
    """A plan is added, changed or (without `new`) closed to new subscribers."""

    noun = "plan"
    position: int
    subscriptions: int

    @property
    def fields(self) -> list[str]:
        """The versioned fields that differ."""
        if self.old is None or self.new is None:
            return []
        old, new = plan_terms(self.old), plan_terms(self.new)
        return [name for name in VERSIONED if old[name] != new[name]]

    @property
    def words(self) -> str:
        """For people: what happens, and how many subscriptions keep their terms."""
        if self.new is None:
            return f"plan {self.key}: closed to new subscribers{_kept(self.subscriptions)}"
        if self.old is None:
            return f"plan {self.key}: added"
        if self.fields:
            version = self.old.version + 1
            return (
                f"plan {self.key}: version {version} ({', '.join(self.fields)})"
                f"{_kept(self.subscriptions)}"
            )
        if self.old.is_active != self.new.is_active:
            return f"plan {self.key}: {'opened' if self.new.is_active else 'closed'}"
        return f"plan {self.key}: moved to place {self.position + 1}"


@dataclass(frozen=True)
class PriceChange:
    """A price is added, replaced by its next version, or (without `new`) no longer offered."""

    key: PriceKey
    old: Price | None
    new: PriceSpec | None
    sold: Sold

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return f"{self.key[0]} {self.key[1]}"

    @property
    def kept(self) -> Sold:
        """The subscriptions that keep a price other than the new one."""
        return self.sold.but(self.new) if self.new else self.sold

    @property
    def period_minor(self) -> int:
        """Money gained or lost per period if every subscription on it moved to the new price."""
        if self.new is None:
            return 0
        new = self.new.amount_minor
        return sum(one.seats * (new - one.unit_minor) for one in self.kept.held)

    @property
    def words(self) -> str:
        """For people: `price of plan pro per month: 49.00 USD → 59.00 USD; …`."""
        kind, key, currency, interval = self.key
        every = f" per {rules.show_interval(interval)}" if interval else ""
        old, new = _shown(self.old, currency), _shown(self.new, currency)
        kept = self.kept.subscriptions
        words = f"price of {kind} {key}{every}: {old} → {new}{_kept(kept)}"
        if kept and self.new:
            words += f" ({show_money(self.period_minor, currency)}{every} if they moved)"
        return words


@dataclass(frozen=True)
class PackChange(KeyedChange[Pack, PackSpec]):
    """A pack is added, changed, or (without `new`) no longer offered."""

    noun = "pack"
    position: int

    @property
    def words(self) -> str:
        """For people."""
        if self.new is None:
            return f"pack {self.key}: no longer offered"
        if self.old is None:
            return f"pack {self.key}: added"
        before, after = show_decimal(self.old.credits), show_decimal(self.new.credits)
        return f"pack {self.key}: changed" + (
            f", {before} → {after} credits" if before != after else ""
        )


@dataclass(frozen=True)
class CostChange:
    """An operation's cost changes from now on; without `new` its built-in cost applies again."""

    operation: str
    old: CreditCost | None
    new: CostSpec | None

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return f"cost {self.operation}"

    @property
    def words(self) -> str:
        """For people."""
        new = show_decimal(self.new.cost) if self.new and self.new.is_active else "built-in"
        return f"credit cost of {self.operation}: {new}"


@dataclass(frozen=True)
class DefaultPlanChange:
    """The plan of accounts without a subscription changes, or (`new` is None) ends."""

    new: str | None

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return "default plan"

    @property
    def words(self) -> str:
        """For people."""
        return f"default plan, of accounts without a subscription: {self.new or 'none'}"


CatalogChange = PlanChange | PriceChange | PackChange | CostChange | DefaultPlanChange
Change = CatalogChange | MeteringChange | TaxChange | PaymentKindChange


def compare(wanted: CatalogSpec, current: Current) -> list[Change]:
    """Return every change that makes the database sell exactly `wanted`."""
    changes: list[Change] = []
    for position, (key, plan) in enumerate(wanted.plans.items()):
        changes += compare_plan(key, plan, position, current)
    for position, (key, pack) in enumerate(wanted.packs.items()):
        changes += compare_pack(key, pack, position, current)
    for operation, cost in wanted.credit_costs.items():
        changes += compare_cost(operation, cost, current)
    changes += product_changes.compare(wanted.meters, wanted.products, current.metering)
    changes += tax_changes.compare(wanted.taxes, current.taxes)
    changes += kind_changes.compare(wanted.payment_methods, current.payment_kinds)
    changes += compare_default(wanted.default_key, current)
    return changes + _retired(wanted, current)


def compare_default(new: str | None, current: Current) -> list[Change]:
    """Return the change of the plan of accounts without a subscription."""
    return [] if new == current.default_plan else [DefaultPlanChange(new)]


def compare_plan(key: str, new: PlanSpec, position: int, current: Current) -> list[Change]:
    """Return the changes of one plan and its prices."""
    old = current.plans.get(key)
    changes: list[Change] = []
    touched = _subscriptions(key, current)
    same = old and plan_terms(old) == plan_terms(new)
    if not (same and old and (old.is_active, old.position) == (new.is_active, position)):
        changes.append(PlanChange(key, old, new, position, touched))
    prices: dict[PriceKey, PriceSpec] = {
        ("plan", key, currency, rules.parse_interval(every)): price
        for every, by_currency in new.prices.items()
        for currency, price in by_currency.items()
    }
    return changes + _compare_prices("plan", key, prices, current)


def compare_pack(key: str, new: PackSpec, position: int, current: Current) -> list[Change]:
    """Return the changes of one pack and its prices."""
    old = current.packs.get(key)
    terms = ("name", "description", "credits", "tax_category", "is_active")
    changes: list[Change] = []
    same = old and all(getattr(old, name) == getattr(new, name) for name in terms)
    if not (same and old and old.position == position):
        changes.append(PackChange(key, old, new, position))
    prices: dict[PriceKey, PriceSpec] = {
        ("pack", key, currency, None): price for currency, price in new.prices.items()
    }
    return changes + _compare_prices("pack", key, prices, current)


def compare_cost(operation: str, new: CostSpec, current: Current) -> list[Change]:
    """Return the change of one operation's cost."""
    old = current.costs.get(operation)
    if old and (old.cost, old.is_active) == (new.cost, new.is_active):
        return []
    return [CostChange(operation, old, new)]


def plan_terms(plan: Plan | PlanSpec) -> dict[str, Any]:
    """Return the versioned terms of a plan; a difference makes a new version."""
    terms = {name: getattr(plan, name) for name in VERSIONED}
    if isinstance(plan, PlanSpec):
        terms["allowance"] = plan.allowance_interval
    return terms


def _compare_prices(
    kind: str, key: str, wanted: Mapping[PriceKey, PriceSpec], current: Current
) -> list[Change]:
    changes: list[Change] = []
    for price_key, new in wanted.items():
        old = current.prices.get(price_key)
        if old is None or _price_terms(old) != _price_terms(new):
            changes.append(PriceChange(price_key, old, new, _sold(price_key, current)))
    mine = (pk for pk in current.prices if pk[:2] == (kind, key))
    return changes + _retired_prices((pk for pk in mine if pk not in wanted), current)


def _price_terms(price: Price | PriceSpec) -> tuple[int, int | None, str | None]:
    return price.amount_minor, price.minimum_minor, price.stripe_price_id


def _shown(price: Price | PriceSpec | None, currency: str) -> str:
    """Return a price with its minimum, for people."""
    if price is None:
        return "none"
    amount = show_money(price.amount_minor, currency)
    if price.minimum_minor is None:
        return amount
    return f"{amount}, at least {show_money(price.minimum_minor, currency)}"


def _retired(wanted: CatalogSpec, current: Current) -> list[Change]:
    changes: list[Change] = []
    for key, plan in current.plans.items():
        if key not in wanted.plans and plan.is_active:
            touched = _subscriptions(key, current)
            changes.append(PlanChange(key, plan, None, plan.position, touched))
    for key, pack in current.packs.items():
        if key not in wanted.packs and pack.is_active:
            changes.append(PackChange(key, pack, None, pack.position))
    for operation, cost in current.costs.items():
        if operation not in wanted.credit_costs and cost.is_active:
            changes.append(CostChange(operation, cost, None))
    kept = {("plan", key) for key in wanted.plans} | {("pack", key) for key in wanted.packs}
    return changes + _retired_prices((pk for pk in current.prices if pk[:2] not in kept), current)


def _retired_prices(keys: Iterable[PriceKey], current: Current) -> list[Change]:
    return [PriceChange(pk, current.prices[pk], None, _sold(pk, current)) for pk in keys]


def _sold(key: PriceKey, current: Current) -> Sold:
    return current.sold.get(key, Sold())


def _subscriptions(key: str, current: Current) -> int:
    return sum(sold.subscriptions for pk, sold in current.sold.items() if pk[1] == key)


def _kept(subscriptions: int) -> str:
    if subscriptions == 1:
        return "; 1 open subscription keeps its own"
    return f"; {subscriptions} open subscriptions keep theirs" if subscriptions else ""
