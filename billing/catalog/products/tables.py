"""Tables of meters, products, price versions and agreed prices.

A price that was ever valid keeps its terms: a change ends it and begins the next version, so a late
event is priced as of its own time.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

meters = Table(
    "meters",
    metadata,
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # The names that callers use for it: JSON lists.
    Column("service_types", JSONB, nullable=False),
    Column("feature_types", JSONB, nullable=False),
    Column("hourly", Boolean, nullable=False),
    Column("is_active", Boolean, nullable=False),
    CheckConstraint("kind IN ('sum', 'count', 'max', 'last')", name="kind_known"),
)

products = Table(
    "products",
    metadata,
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("service_type", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # Who sells it: the catalog, which retires what it does not list, or the product service.
    Column("source", Text, nullable=False, server_default="catalog"),
    CheckConstraint("source IN ('catalog', 'service')", name="source_known"),
)


def _price_columns() -> list[Any]:
    """The columns of every price; `currency` is ISO 4217 or CREDIT."""
    return [
        Column("currency", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("unit_price", Numeric(27, 12), nullable=False),
        Column("package_size", Numeric(27, 12), nullable=False),
        Column("free_units", Numeric(27, 12), nullable=False),
        # A list of billing.catalog.rating.schemas.Tier, its amounts as texts.
        Column("tiers", JSONB, nullable=False),
        Column("effective_from", DateTime(timezone=True), nullable=False),
        Column("effective_to", DateTime(timezone=True)),
        CheckConstraint("currency ~ '^([A-Z]{3}|CREDIT)$'", name="currency_known"),
        CheckConstraint(
            "model IN ('flat', 'per_unit', 'graduated', 'volume', 'package')", name="model_known"
        ),
        CheckConstraint("unit_price >= 0 AND free_units >= 0 AND package_size > 0", name="amounts"),
        CheckConstraint("effective_from < effective_to", name="forward"),
    ]


product_prices = Table(
    "product_prices",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("product", Text, ForeignKey("products.key"), nullable=False),
    *_price_columns(),
    Index(
        "uq_product_prices_open",
        "product",
        "currency",
        unique=True,
        postgresql_where=text("effective_to IS NULL"),
    ),
    Index("ix_product_prices_product", "product", "currency", "effective_from"),
)

price_overrides = Table(
    "price_overrides",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("product", Text, ForeignKey("products.key"), nullable=False),
    *_price_columns(),
    # Agreed here, or what the product service asks of this account; when it last said so.
    Column("source", Text, nullable=False, server_default="agreed"),
    Column("checked_at", DateTime(timezone=True)),
    CheckConstraint("source IN ('agreed', 'service')", name="source_known"),
    Index(
        "uq_price_overrides_open",
        "account_id",
        "product",
        "currency",
        unique=True,
        postgresql_where=text("effective_to IS NULL"),
    ),
    Index("ix_price_overrides_account", "account_id", "product", "currency", "effective_from"),
)
