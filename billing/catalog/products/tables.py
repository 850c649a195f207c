"""Tables of meters, products, price versions and agreed prices.

The terms of a price never change: a change ends it and begins the next version, so a late event is
priced as of its own time.
"""

from typing import Any

from sqlalchemy import ForeignKey, Text
from sqlalchemy.dialects.postgresql import JSONB

from billing.core import columns as c

meters = c.table(
    "meters",
    c.text("key", primary_key=True),
    c.text("name"),
    c.text("unit"),
    c.text("kind"),
    # The names that callers use for it: JSON lists.
    c.json("service_types"),
    c.json("feature_types"),
    c.flag("hourly"),
    # Since when its hours are counted; null: always, if at all.
    c.instant("hourly_since", nullable=True),
    # The maximum quantity of one use: more is a wrong unit, or an attack.
    c.amount("max_per_use", server_default="1000000000"),
    c.flag("is_active"),
    c.check("kind IN ('sum', 'count', 'max', 'last')", name="kind_known"),
)

products = c.table(
    "products",
    c.text("key", primary_key=True),
    c.text("name"),
    c.text("meter"),
    c.text("service_type"),
    c.flag("is_active"),
    c.instant("created_at"),
    # Its origin: the catalog, which retires what it does not list, or the product service.
    c.text("source", server_default="catalog"),
    c.check("source IN ('catalog', 'service')", name="source_known"),
)


def _price_columns() -> list[Any]:
    """Return the columns of every price; `currency` is ISO 4217 or CREDIT."""
    return [
        c.text("currency"),
        c.text("model"),
        c.amount("unit_price"),
        c.amount("package_size"),
        c.amount("free_units"),
        # A list of billing.catalog.rating.schemas.Tier, its amounts as texts.
        c.json("tiers"),
        # Of the model percentage: billing.catalog.rating.schemas.Percentage.
        c.json("percentage", nullable=True),
        c.instant("effective_from"),
        c.instant("effective_to", nullable=True),
        c.check("currency ~ '^([A-Z]{3}|CREDIT)$'", name="currency_known"),
        c.check(
            "model IN ('flat', 'per_unit', 'graduated', 'volume', 'package', 'percentage')"
            " AND (model = 'percentage') = (percentage IS NOT NULL)",
            name="model_known",
        ),
        c.check("unit_price >= 0 AND free_units >= 0 AND package_size > 0", name="amounts"),
        c.check("effective_from < effective_to", name="forward"),
    ]


product_prices = c.table(
    "product_prices",
    c.row_id(),
    c.column("product", Text, ForeignKey("products.key")),
    *_price_columns(),
    c.index(
        "uq_product_prices_open", "product", "currency", unique=True, where="effective_to IS NULL"
    ),
    c.index("ix_product_prices_product", "product", "currency", "effective_from"),
)

price_overrides = c.table(
    "price_overrides",
    c.row_id(),
    c.account(),
    c.column("product", Text, ForeignKey("products.key")),
    *_price_columns(),
    # Agreed here, or the product service's price for this account, and when it last confirmed it.
    c.text("source", server_default="agreed"),
    c.instant("checked_at", nullable=True),
    # While an agreement holds: the product service's terms, which apply at its end.
    c.column("offered", JSONB(none_as_null=True), nullable=True),
    c.check("source IN ('agreed', 'service')", name="source_known"),
    c.index(
        "uq_price_overrides_open",
        "account_id",
        "product",
        "currency",
        unique=True,
        where="effective_to IS NULL",
    ),
    c.index("ix_price_overrides_account", "account_id", "product", "currency", "effective_from"),
)
