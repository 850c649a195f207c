"""Limits agreed with one account, which go before its plan's [B10, B16].

A limit that was ever in force keeps its row: a change ends it and begins the next one.
"""

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
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

limit_overrides = Table(
    "limit_overrides",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("meter", Text, ForeignKey("meters.key"), nullable=False),
    # As in billing.catalog.plans.schemas.Limit; `beyond` is its `then`.
    Column("included", Numeric(27, 12), nullable=False),
    Column("beyond", Text, nullable=False),
    # Of one unit, in whole currency units as texts, by currency.
    Column("prices", JSONB, nullable=False),
    Column("effective_from", DateTime(timezone=True), nullable=False),
    Column("effective_to", DateTime(timezone=True)),
    # When it begins or ends next: the account's matter has the open cycle follow then.
    Column("due_at", DateTime(timezone=True)),
    CheckConstraint("included >= 0", name="included_not_negative"),
    CheckConstraint("beyond IN ('block', 'overage', 'notify')", name="beyond_known"),
    CheckConstraint("(beyond = 'overage') = (prices <> '{}')", name="overage_has_prices"),
    CheckConstraint("effective_from < effective_to", name="forward"),
    Index("uq_limit_overrides_account", "account_id", "meter", "effective_from", unique=True),
    Index("ix_limit_overrides_due", "account_id", postgresql_where=text("due_at IS NOT NULL")),
)
