"""The inbox of what the card provider told us."""

from typing import Final

from sqlalchemy import Column, DateTime, ForeignKey, Index, Integer, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

# For the question where a matter stands: the events for it that nobody has looked into, oldest
# first. One that is replayed counts its replays, so it is looked into again.
WAITING_EVENTS: Final = """
    ARRAY(SELECT jsonb_build_object('id', e.stripe_event_id, 'replays', e.replays)
          FROM stripe_webhook_events e
          WHERE e.workflow_id = :workflow_id AND e.status = 'received'
          ORDER BY e.received_at LIMIT 10)
"""

stripe_webhook_events = Table(
    "stripe_webhook_events",
    metadata,
    Column("stripe_event_id", Text, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("workflow_id", Text),
    Column("type", Text, nullable=False),
    Column("object_id", Text),
    Column("payload", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default="received"),
    Column("error", Text),
    Column("deliveries", Integer, nullable=False, server_default="1"),
    # How often an operator had it looked into again.
    Column("replays", Integer, nullable=False, server_default="0"),
    Column("source", Text, nullable=False, server_default="webhook"),
    Column("created_at", DateTime(timezone=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    # When it was handled; of one without an owner, when that was last looked for.
    Column("dispatched_at", DateTime(timezone=True)),
    Index("ix_stripe_webhook_events_account", "account_id", "received_at"),
    Index("ix_stripe_webhook_events_object", "object_id"),
)
Index(
    "ix_stripe_webhook_events_waiting",
    stripe_webhook_events.c.received_at,
    postgresql_where=stripe_webhook_events.c.status.in_(["received", "unmatched"]),
)
Index(
    "ix_stripe_webhook_events_for_matter",
    stripe_webhook_events.c.workflow_id,
    postgresql_where=stripe_webhook_events.c.status == "received",
)
