"""Tables of the catalog: versioned plans and prices, credit packs, costs of operations.

A row that was ever sold is never changed in its terms: a change writes the next version and moves
the `is_current` mark, so a subscription keeps what it bought (docs/rules.md#catalog).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

plans = Table(
    "plans",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("family", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # An object of feature to true, a number or a text.
    Column("features", JSONB, nullable=False),
    # A list of billing.catalog.plans.schemas.Limit.
    Column("limits", JSONB, nullable=False),
    # A list of billing.catalog.plans.schemas.AddOn.
    Column("add_ons", JSONB, nullable=False, server_default="[]"),
    Column("trial_days", Integer, nullable=False, server_default="0"),
    Column("monthly_credits", Numeric(27, 12), nullable=False, server_default="0"),
    # Credits, limits and usage run in this interval from the same anchor, also under yearly prices.
    Column("allowance_unit", Text, nullable=False, server_default="month"),
    Column("allowance_count", Integer, nullable=False, server_default="1"),
    # Minor units by currency: a subscription's billing threshold when it is sold.
    Column("billing_threshold", JSONB, nullable=False, server_default="{}"),
    Column("past_due_access", Text, nullable=False, server_default="full"),
    Column("trial_end_behavior", Text, nullable=False, server_default="cancel"),
    # billing.catalog.plans.schemas.DunningPolicy and Rollover, as JSON.
    Column("dunning", JSONB, nullable=False),
    Column("rollover", JSONB, nullable=False),
    Column("stripe_product_id", Text),
    Column("position", Integer, nullable=False, server_default="0"),
    # Open to new subscribers; the ones it has keep it either way [B3].
    Column("is_active", Boolean, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Unique("key", "version"),
    CheckConstraint("trial_days >= 0", name="trial_days_not_negative"),
    CheckConstraint("monthly_credits >= 0", name="monthly_credits_not_negative"),
    CheckConstraint("allowance_unit IN ('day', 'week', 'month', 'year')", name="allowance_unit"),
    CheckConstraint("allowance_count > 0", name="allowance_count_positive"),
    CheckConstraint(
        "past_due_access IN ('full', 'no_new_overage', 'none')", name="past_due_access_known"
    ),
    CheckConstraint(
        "trial_end_behavior IN ('cancel', 'pause', 'invoice')", name="trial_end_behavior_known"
    ),
    Index("uq_plans_current", "key", unique=True, postgresql_where=text("is_current")),
)

prices = Table(
    "prices",
    metadata,
    Column("id", Uuid, primary_key=True),
    # 'plan' or 'pack', and the key of that plan or pack.
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("interval_unit", Text),
    Column("interval_count", Integer),
    Column("amount_minor", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("stripe_price_id", Text),
    Column("is_current", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('plan', 'pack')", name="kind_known"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
    CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    CheckConstraint(
        "(kind = 'plan') = (interval_unit IS NOT NULL)"
        " AND (interval_unit IS NULL) = (interval_count IS NULL)",
        name="interval_for_plans",
    ),
    CheckConstraint("interval_unit IN ('day', 'week', 'month', 'year')", name="interval_unit"),
    CheckConstraint("interval_count > 0", name="interval_count_positive"),
    Unique(
        "kind",
        "key",
        "currency",
        "interval_unit",
        "interval_count",
        "version",
        postgresql_nulls_not_distinct=True,
    ),
    Index(
        "uq_prices_current",
        "kind",
        "key",
        "currency",
        "interval_unit",
        "interval_count",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("is_current"),
    ),
)

credit_packages = Table(
    "credit_packages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # A purchase copies this number, so an edit touches later purchases only.
    Column("credits", Numeric(27, 12), nullable=False),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("is_active", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("credits > 0", name="credits_positive"),
)

credit_costs = Table(
    "credit_costs",
    metadata,
    Column("operation", Text, primary_key=True),
    Column("cost", Numeric(27, 12), nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("cost >= 0", name="cost_not_negative"),
)
