"""The outbox of published facts, numbered per account."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, Table, Text, Uuid
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("correlation_id", Text),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("published_at", DateTime(timezone=True)),
    Unique("account_id", "seq"),
)
Index(
    "ix_events_unpublished",
    events.c.created_at,
    postgresql_where=events.c.published_at.is_(None),
)
