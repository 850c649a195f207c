"""The audit log: actor, action and object, written in the transaction of the change itself."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

billing_audit = Table(
    "billing_audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("correlation_id", Text),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("real_at", DateTime(timezone=True), nullable=False),
    Index("ix_billing_audit_account", "account_id", "id"),
    Index("ix_billing_audit_subject", "subject", "id"),
)
