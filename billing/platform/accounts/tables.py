"""The billed customer and the seller's legal entity that bills it.

An account row is the tenant of everything else; a frozen test clock lives on it.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

issuers = Table(
    "issuers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("address", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("tax_ids", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("number_prefix", Text, nullable=False),
    Column("is_default", Boolean, nullable=False, server_default=false()),
)
Index(
    "uq_issuers_default", issuers.c.is_default, unique=True, postgresql_where=issuers.c.is_default
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("external_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False, server_default="merchant"),
    Column("name", Text),
    Column("email", Text),
    Column("zone", Text, nullable=False, server_default="UTC"),
    Column("country", Text),
    Column("locale", Text, nullable=False, server_default="en"),
    # Who the customer is on the platform it was installed from, such as shopify / shop domain.
    Column("platform", Text),
    Column("platform_domain", Text),
    Column("is_test", Boolean, nullable=False, server_default=false()),
    # The frozen clock of a test account; null means real time.
    Column("clock_at", DateTime(timezone=True)),
    Column("clock_target", DateTime(timezone=True)),
    Column("clock_status", Text),
    Column("clock_blocked", Text),
    Column("stripe_customer_id", Text, unique=True),
    Column("issuer_id", Uuid, ForeignKey("issuers.id")),
    # How it would rather pay single uses; suggested where it can [F26].
    Column("preferred_billing_method", Text),
    Column("status", Text, nullable=False, server_default="active"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("is_test OR (clock_at IS NULL AND clock_target IS NULL)", name="real_time"),
    CheckConstraint("clock_status IN ('ready', 'advancing', 'blocked')", name="clock_status"),
    CheckConstraint("(platform IS NULL) = (platform_domain IS NULL)", name="platform"),
    CheckConstraint(
        "preferred_billing_method IN ('wallet_deduction', 'credit_consumption', 'payment_charge')",
        name="preferred_method_known",
    ),
    Index("ix_accounts_created", "created_at", "id"),
    # Most have no clock, and whoever records their uses asks for it each time.
    Index("ix_accounts_clock", "id", postgresql_where=text("clock_at IS NOT NULL")),
    # Row-level security compares this column where other tables have `account_id`.
    info={"tenant_key": "id"},
)
