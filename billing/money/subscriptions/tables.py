"""An account's plan over time: its period, its allowance cycle, and what is planned for it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy import UniqueConstraint as Unique

from billing.core.database import metadata

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # The plan and price version it was sold with (docs/rules.md#catalog).
    Column("plan_id", Uuid, ForeignKey("plans.id"), nullable=False),
    Column("plan_key", Text, nullable=False),
    Column("price_id", Uuid, ForeignKey("prices.id"), nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("interval_unit", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("status", Text, nullable=False),
    # Naive wall time in `zone`: period n is computed from it (billing.core.periods).
    Column("anchor_wall", DateTime(timezone=False), nullable=False),
    Column("zone", Text, nullable=False),
    Column("period_number", Integer, nullable=False, server_default="0"),
    Column("current_period_start", DateTime(timezone=True), nullable=False),
    Column("current_period_end", DateTime(timezone=True), nullable=False),
    Column("cycle_start", DateTime(timezone=True), nullable=False),
    Column("cycle_end", DateTime(timezone=True), nullable=False),
    Column("trial_end", DateTime(timezone=True)),
    Column("trial_end_behavior", Text, nullable=False, server_default="cancel"),
    Column("cancel_at_period_end", Boolean, nullable=False, server_default="false"),
    Column("canceled_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("end_reason", Text),
    Column("incomplete_expires_at", DateTime(timezone=True)),
    # A newer subscribe waits for this incomplete one to be given up.
    Column("superseded_at", DateTime(timezone=True)),
    # Use beyond the plan is invoiced as soon as it comes to so much; NULL: with the cycle.
    Column("billing_threshold_minor", BigInteger),
    Column("stripe_subscription_id", Text, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        "status IN ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due',"
        " 'unpaid', 'paused', 'canceled')",
        name="status_known",
    ),
    CheckConstraint("billing_threshold_minor > 0", name="billing_threshold_positive"),
    CheckConstraint("current_period_start < current_period_end", name="period_forward"),
    Index(
        "uq_subscriptions_one_open",
        "account_id",
        unique=True,
        postgresql_where=text(
            "status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')"
        ),
    ),
    Index("ix_subscriptions_account_created", "account_id", "created_at", "id"),
)

subscription_items = Table(
    "subscription_items",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("subscription_id", Uuid, ForeignKey("subscriptions.id"), nullable=False),
    Column("kind", Text, nullable=False),
    # None of an add-on, whose price is the plan version's own.
    Column("price_id", Uuid, ForeignKey("prices.id")),
    Column("description", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    # From the next period on; None: as many as now.
    Column("next_quantity", Integer),
    Column("amount_minor", BigInteger, nullable=False),
    # Of an add-on: its key in the plan, and the units of a meter that each gives per cycle.
    Column("add_on", Text),
    Column("meter", Text),
    Column("units", Numeric(27, 12)),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("next_quantity BETWEEN 0 AND quantity - 1", name="next_quantity_less"),
    CheckConstraint(
        "(kind = 'add_on') = (num_nonnulls(add_on, meter, units) = 3)"
        " AND (kind = 'add_on') = (price_id IS NULL)",
        name="add_on_whole",
    ),
    Unique("subscription_id", "add_on"),
    Index("ix_subscription_items_subscription", "subscription_id"),
)
