"""The first answer of each keyed request, kept for 24 hours of real time [P9, P10]."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from billing.core.database import metadata

billing_idempotency = Table(
    "billing_idempotency",
    metadata,
    # The account's id, or `*` for calls that belong to no account.
    Column("scope", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("request_hash", Text, nullable=False),
    # What the request creates; a takeover after a crash continues from this row.
    Column("resource_id", Uuid, nullable=False),
    Column("lease", Uuid, nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("status", SmallInteger),
    Column("media_type", Text),
    Column("body", LargeBinary),
    CheckConstraint("(status IS NULL) = (body IS NULL)", name="answer_whole"),
    CheckConstraint("scope = coalesce(account_id::text, '*')", name="scope"),
    Index("ix_billing_idempotency_expires", "expires_at"),
)
