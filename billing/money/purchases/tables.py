"""One row per credit pack bought: what, for how much, by which flow, and how it ended."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    Table,
    Text,
    Uuid,
)

from billing.core.database import metadata

purchases = Table(
    "purchases",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("pack", Text, nullable=False),
    Column("pack_name", Text, nullable=False),
    Column("credits", Numeric(27, 12), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("flow", Text, nullable=False),
    Column("payment_method_id", Uuid, ForeignKey("payment_methods.id")),
    Column("status", Text, nullable=False),
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False),
    Column("return_url", Text),
    # The wish behind a purchase that nobody asked for by hand.
    Column("top_up_id", Uuid, ForeignKey("top_ups.id")),
    Column("failure_code", Text),
    Column("failure_message", Text),
    Column("correlation_id", Text),
    Column("created_by", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("completed_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    Column("archived_at", DateTime(timezone=True)),
    CheckConstraint(
        "status IN ('pending', 'completed', 'failed', 'expired', 'refunded')", name="status_known"
    ),
    Index("ix_purchases_account_created", "account_id", "created_at", "id"),
    Index("ix_purchases_invoice", "invoice_id"),
)
