"""The impact of catalog changes: affected subscriptions, removals, and price steps that are too
large. Pure.

These catch a misplaced decimal point before anybody buys at that price, and a truncated file before
its plans are closed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from billing.catalog.plans import rules
from billing.catalog.plans.changes import (
    Change,
    CostChange,
    PackChange,
    PlanChange,
    PriceChange,
    Sold,
)
from billing.catalog.plans.schemas import Plan
from billing.catalog.plans.spec import PlanSpec
from billing.catalog.products.changes import ProductPriceChange
from billing.catalog.rating.schemas import PriceTerms
from billing.core.money import show_money

LARGEST: Final = Decimal("0.5")
"""The largest share of a price that it may rise or fall by without explicit confirmation."""
Numbers = Mapping[str, int | Decimal]
"""The numbers of a price, by name."""


@dataclass(frozen=True)
class NumberChange:
    """A change of one number of a price."""

    name: str
    old: int | Decimal
    new: int | Decimal

    @property
    def is_large(self) -> bool:
        """True if it rises or falls by more than half; any rise from 0 is large."""
        old, new = Decimal(self.old), Decimal(self.new)
        return abs(new - old) > LARGEST * old

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.name}: {self.old} → {self.new}"


def asked_by_name(changes: Sequence[Change]) -> list[str]:
    """Describe what needs explicit confirmation: removals and large steps."""
    return gone(changes) + [step.words for step in too_large(changes)]


def gone(changes: Sequence[Change]) -> list[str]:
    """Describe everything that the catalog, or a plan's prices, would no longer have."""
    return [words for change in changes for words in _gone(change)]


def too_large(changes: Sequence[Change]) -> list[NumberChange]:
    """Return the price steps of more than a half."""
    return [step for change in changes for step in _steps(change) if step.is_large]


def touched(changes: Sequence[Change]) -> list[str]:
    """Describe how many subscriptions keep another price, and the difference per period."""
    sums: dict[tuple[str, str], list[PriceChange]] = defaultdict(list)
    for one in changes:
        if isinstance(one, PriceChange) and one.key[3] and one.new and one.kept.subscriptions:
            sums[one.key[2], rules.show_interval(one.key[3])].append(one)
    return [
        f"{currency} per {every}: {sum(one.kept.subscriptions for one in found)} open"
        f" subscriptions keep another price; moved, they would pay"
        f" {_signed(sum(one.period_minor for one in found), currency)}"
        for (currency, every), found in sorted(sums.items())
    ]


def identity(changes: Sequence[Change]) -> list[Change]:
    """Return the changes without their counts of subscriptions, to compare with a preview."""
    return [_alone(one) for one in changes]


def _alone(change: Change) -> Change:
    if isinstance(change, PriceChange):
        return replace(change, sold=Sold())
    if isinstance(change, PlanChange):
        return replace(change, subscriptions=0)
    return change


def _signed(minor: int, currency: str) -> str:
    words = show_money(abs(minor), currency)
    return f"{words} more" if minor >= 0 else f"{words} less"


def _steps(change: Change) -> Iterator[NumberChange]:
    """Yield each number that a price, or what it buys in credits, has both before and after."""
    match change:
        case PriceChange(key=(kind, key, currency, _), old=old, new=new) if old and new:
            yield NumberChange(f"price of {kind} {key} in minor units of {currency}",
                       old.amount_minor, new.amount_minor)  # fmt: skip
            if old.minimum_minor and new.minimum_minor:
                yield NumberChange(f"minimum of {kind} {key} in minor units of {currency}",
                           old.minimum_minor, new.minimum_minor)  # fmt: skip
        case ProductPriceChange(key=key, currency=currency, old=old, new=new) if old and new:
            yield from _between(
                f"product {key}", _terms(currency, old.terms), _terms(currency, new)
            )
        case PackChange(key=key, old=old, new=new) if old and new:
            yield NumberChange(f"credits of pack {key}", old.credits, new.credits)
        case PlanChange(key=key, old=old, new=new) if old and new:
            yield from _between(f"plan {key}", _extras(old), _extras(new))
            if old.monthly_credits and new.monthly_credits:
                yield NumberChange(
                    f"credits of plan {key}", old.monthly_credits, new.monthly_credits
                )
        case CostChange(operation=operation, old=old, new=new) if (
            old and new and old.is_active and new.is_active
        ):
            yield NumberChange(f"credit cost of {operation}", old.cost, new.cost)


def _gone(change: Change) -> Iterator[str]:
    match change:
        case PlanChange(key=key, old=old, new=new) if old and new:
            for name in sorted(_priced(old) - _priced(new)):
                yield f"price of {name} in plan {key}: → none"
        case _:
            if change.new is None:
                yield change.words


def _priced(plan: Plan | PlanSpec) -> set[str]:
    """Return the names of a plan's priced limits and add-ons, by currency."""
    limits = {f"{one.meter} in {currency}" for one in plan.limits for currency in one.prices}
    add_ons = {f"add-on {one.key} in {currency}" for one in plan.add_ons for currency in one.prices}
    return limits | add_ons


def _between(name: str, old: Numbers, new: Numbers) -> Iterator[NumberChange]:
    for part in old.keys() & new.keys():
        if old[part] != new[part]:
            yield NumberChange(f"{name}, {part}", old[part], new[part])


def _extras(plan: Plan | PlanSpec) -> Numbers:
    """Return the prices within a plan: of its overage and of its add-ons."""
    found: dict[str, int | Decimal] = {}
    for limit in plan.limits:
        for currency, terms in limit.prices.items():
            found |= {f"{limit.meter}: {k}": v for k, v in _terms(currency, terms).items()}
    for add_on in plan.add_ons:
        for currency, minor in add_on.prices.items():
            found[f"add-on {add_on.key} in minor units of {currency}"] = minor
    return found


def _terms(currency: str, terms: PriceTerms) -> Numbers:
    """Return the numbers of a usage price, named by model so that models are never compared."""
    stem, tiers = f"{currency} {terms.model}".replace("_", " "), len(terms.tiers)
    found: dict[str, int | Decimal | None] = {
        stem: terms.unit_price,
        f"{stem}, units in a package": terms.package_size,
        f"{stem}, free units": terms.free_units,
    }
    for number, tier in enumerate(terms.tiers, 1):
        found[f"{stem} {number} of {tiers}"] = tier.unit_price
        found[f"{stem} {number} of {tiers}, once"] = tier.flat_price
        found[f"{stem} {number} of {tiers}, up to"] = tier.up_to
    if (by := terms.percentage) is not None:
        found[f"{stem} percent"] = by.percent
        found[f"{stem} fixed"] = by.fixed_price
        found[f"{stem} minimum"] = by.minimum
        found[f"{stem} maximum"] = by.maximum
        found[f"{stem}, free uses"] = by.free_transactions
    return {name: number for name, number in found.items() if number is not None}
