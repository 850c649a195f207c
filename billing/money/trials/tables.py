"""Trials taken, once per (account, kind) and once per external platform identity."""

from sqlalchemy import (
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
from sqlalchemy import UniqueConstraint as Unique

from billing.core.database import metadata

trials = Table(
    "trials",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # account_trial (credits, no card) or subscription_trial.
    Column("kind", Text, nullable=False),
    # SHA-256 of the platform identity: outlives the erasure of the account.
    Column("identity_hash", Text),
    Column("status", Text, nullable=False),
    Column("credits", Numeric(27, 12), nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Unique("account_id", "kind"),
    CheckConstraint("status IN ('active', 'expired', 'converted')", name="status_known"),
    Index(
        "uq_trials_identity",
        "kind",
        "identity_hash",
        unique=True,
        postgresql_where=text("identity_hash IS NOT NULL"),
    ),
)
