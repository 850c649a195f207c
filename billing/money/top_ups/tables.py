"""Credits bought by themselves: what each account wants, and each time it was wanted.

The SQL functions of credits write a row when a debit or hold leaves less than the threshold.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from billing.core.database import metadata
from billing.ledger.credits.tables import CREDITS

top_up_settings = Table(
    "top_up_settings",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    Column("is_enabled", Boolean, nullable=False),
    Column("threshold", CREDITS, nullable=False),
    Column("pack", Text, nullable=False),
    # The card to charge; null is the account's default at the time.
    Column("payment_method_id", Uuid, ForeignKey("payment_methods.id")),
    # Money, in minor units of the account's currency, within one calendar month of its zone.
    Column("monthly_cap_minor", BigInteger),
    # In a row; at the third nothing more is bought until the settings are written again.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("stopped_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("threshold > 0", name="threshold_positive"),
    CheckConstraint("monthly_cap_minor > 0", name="cap_positive"),
    CheckConstraint("failures >= 0", name="failures_counted"),
)

top_ups = Table(
    "top_ups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("pack", Text, nullable=False),
    Column("threshold", CREDITS, nullable=False),
    # What was there when it was wanted.
    Column("available", CREDITS, nullable=False),
    Column("purchase_id", Uuid, unique=True),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    # Why it failed, or was left.
    Column("reason", Text),
    Column("wanted_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    CheckConstraint(
        "status IN ('wanted', 'buying', 'completed', 'failed', 'capped', 'dropped')",
        name="status_known",
    ),
    CheckConstraint("(status IN ('wanted', 'buying')) = (decided_at IS NULL)", name="decided_once"),
    CheckConstraint(
        "status NOT IN ('buying', 'completed') OR purchase_id IS NOT NULL", name="bought_by"
    ),
    Index(
        "uq_top_ups_undecided",
        "account_id",
        unique=True,
        postgresql_where=text("status IN ('wanted', 'buying')"),
    ),
    Index("ix_top_ups_account", "account_id", "wanted_at", "id"),
)
