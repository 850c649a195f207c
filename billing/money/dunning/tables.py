"""The recovery of one unpaid invoice: its slots, what ran, and how it ended."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

dunning_cases = Table(
    "dunning_cases",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False, unique=True),
    Column("subscription_id", Uuid),
    Column("status", Text, nullable=False),
    # The plan's policy as it stood when the case opened: days, hour, final_action, grace_days.
    Column("policy", JSONB, nullable=False),
    Column("zone", Text, nullable=False),
    # Day 0: when the renewal's own charge was due.
    Column("day_zero_at", DateTime(timezone=True), nullable=False),
    Column("last_slot", Integer, nullable=False),
    Column("last_slot_ran_at", DateTime(timezone=True), nullable=False),
    Column("last_true_attempt_at", DateTime(timezone=True), nullable=False),
    Column("extended_days", Integer, nullable=False, server_default="0"),
    Column("paused_at", DateTime(timezone=True)),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("close_reason", Text),
    CheckConstraint(
        "status IN ('open', 'paused', 'recovered', 'exhausted', 'forgiven', 'canceled')",
        name="status_known",
    ),
    Index("ix_dunning_cases_account", "account_id", "opened_at"),
    Index("ix_dunning_cases_status", "status"),
)
