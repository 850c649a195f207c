"""Compare wanted meters and products with the current ones; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from billing.catalog.products.schemas import Meter, Product, ProductPrice
from billing.catalog.products.spec import MeterSpec, ProductSpec
from billing.catalog.rating.schemas import CREDIT, Percentage, PriceTerms, Tier
from billing.core.money import show_decimal

Old = TypeVar("Old")
New = TypeVar("New")


@dataclass(frozen=True)
class Metering:
    """Meters, products and current prices by (product, currency), as the database has them."""

    meters: Mapping[str, Meter]
    products: Mapping[str, Product]
    prices: Mapping[tuple[str, str], ProductPrice]


@dataclass(frozen=True)
class KeyedChange(Generic[Old, New]):
    """An object is added, changed, or (without `new`) ended."""

    noun: ClassVar[str]
    ended: ClassVar[str]
    key: str
    old: Old | None
    new: New | None

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return f"{self.noun} {self.key}"

    @property
    def words(self) -> str:
        """For people."""
        what = self.ended if self.new is None else "changed" if self.old else "added"
        return f"{self.subject}: {what}"


class MeterChange(KeyedChange[Meter, MeterSpec]):
    """A change of a meter."""

    noun = "meter"
    ended = "no longer counted"


class ProductChange(KeyedChange[Product, ProductSpec]):
    """A change of a product."""

    noun = "product"
    ended = "no longer sold"


@dataclass(frozen=True)
class ProductPriceChange(KeyedChange[ProductPrice, PriceTerms]):
    """A product's price gets its next version, or ends; past use keeps its own."""

    noun = "product"
    currency: str

    @property
    def words(self) -> str:
        """For people: `price of product gpt-4: 0.002 → 0.003 CREDIT per unit`."""
        old = _show(self.old.terms) if self.old else "none"
        new = _show(self.new) if self.new else "none"
        unit = "credits" if self.currency == CREDIT else self.currency
        return f"price of product {self.key} in {unit}: {old} → {new}"


MeteringChange = MeterChange | ProductChange | ProductPriceChange


def compare(
    meters: Mapping[str, MeterSpec], products: Mapping[str, ProductSpec], current: Metering
) -> list[MeteringChange]:
    """Return every change that makes the database count and price exactly what is wanted."""
    changes: list[MeteringChange] = []
    for key, meter in meters.items():
        changes += compare_meter(key, meter, current)
    for key, product in products.items():
        changes += compare_product(key, product, current)
    changes += [
        MeterChange(key, meter, None)
        for key, meter in current.meters.items()
        if key not in meters and meter.is_active
    ]
    for key, known in current.products.items():
        if key not in products:
            changes += [ProductChange(key, known, None)] if known.is_active else []
            changes += _ended(key, current)
    return changes


def compare_meter(key: str, new: MeterSpec, current: Metering) -> list[MeteringChange]:
    """Return the change of one meter."""
    old = current.meters.get(key)
    names = Meter.model_fields.keys() - {"key"}
    if old and all(getattr(old, name) == getattr(new, name) for name in names):
        return []
    return [MeterChange(key, old, new)]


def compare_product(key: str, new: ProductSpec, current: Metering) -> list[MeteringChange]:
    """Return the changes of one product and its prices."""
    old = current.products.get(key)
    names = Product.model_fields.keys() - {"key"}
    changes: list[MeteringChange] = []
    if old is None or any(getattr(old, name) != getattr(new, name) for name in names):
        changes.append(ProductChange(key, old, new))
    for currency, terms in new.prices.items():
        price = current.prices.get((key, currency))
        if price is None or price.terms != terms:
            changes.append(ProductPriceChange(key, price, terms, currency))
    return changes + _ended(key, current, keep=new.prices)


def _ended(
    key: str, current: Metering, keep: Mapping[str, PriceTerms] | None = None
) -> list[MeteringChange]:
    return [
        ProductPriceChange(key, price, None, currency)
        for (product, currency), price in current.prices.items()
        if product == key and currency not in (keep or {})
    ]


def _show(terms: PriceTerms) -> str:
    """Show every number of the terms, so that different terms never look the same."""
    free = f", {show_decimal(terms.free_units)} free" if terms.free_units else ""
    if terms.tiers:
        return f"{terms.model} {', '.join(map(_show_tier, terms.tiers))}{free}"
    if terms.percentage is not None:
        return _show_percentage(terms.percentage) + free
    size = f" of {show_decimal(terms.package_size)}" if terms.model == "package" else ""
    return f"{show_decimal(terms.unit_price)} {terms.model.replace('_', ' ')}{size}{free}"


def _show_tier(tier: Tier) -> str:
    """Format a tier, flat price first: `0.25 up to 100.00`, `5.00 and 0.20 beyond`."""
    once = f"{show_decimal(tier.flat_price)} and " if tier.flat_price else ""
    until = "beyond" if tier.up_to is None else f"up to {show_decimal(tier.up_to)}"
    return f"{once}{show_decimal(tier.unit_price)} {until}"


def _show_percentage(by: Percentage) -> str:
    parts = [f"{show_decimal(by.percent)} % of the value"]
    parts += [f"{show_decimal(by.fixed_price)} each"] if by.fixed_price else []
    parts += [f"at least {show_decimal(by.minimum)}"] if by.minimum else []
    parts += [f"at most {show_decimal(by.maximum)}"] if by.maximum is not None else []
    parts += [f"{by.free_transactions} uses free"] if by.free_transactions else []
    return ", ".join(parts)
