"""The inbox of payment providers' events."""

from typing import Final

from billing.core import columns as c

# Part of reading a matter's state: its unhandled events, oldest first. A replayed one counts its
# replays, so it is handled again.
WAITING_EVENTS: Final = """
    ARRAY(SELECT jsonb_build_object('id', e.stripe_event_id, 'replays', e.replays)
          FROM stripe_webhook_events e
          WHERE e.workflow_id = :workflow_id AND e.status = 'received'
          ORDER BY e.received_at LIMIT 10)
"""

stripe_webhook_events = c.table(
    "stripe_webhook_events",
    c.text("stripe_event_id", primary_key=True),
    c.account(nullable=True),
    c.text("workflow_id", nullable=True),
    c.text("type"),
    c.text("object_id", nullable=True),
    c.json("payload"),
    c.text("status", server_default="received"),
    c.text("error", nullable=True),
    c.integer("deliveries", server_default="1"),
    # How often an operator replayed it.
    c.integer("replays", server_default="0"),
    c.text("source", server_default="webhook"),
    c.instant("created_at", nullable=True),
    c.instant("received_at"),
    # When it was handled; without an owner, when the owner was last searched for.
    c.instant("dispatched_at", nullable=True),
    # When its payload was deleted; the row stays, so that a repeated event is recognized.
    c.instant("emptied_at", nullable=True),
    c.index("ix_stripe_webhook_events_account", "account_id", "received_at"),
    c.index("ix_stripe_webhook_events_object", "object_id"),
    c.index(
        "ix_stripe_webhook_events_waiting",
        "received_at",
        where="status IN ('received', 'unmatched')",
    ),
    c.index(
        "ix_stripe_webhook_events_full",
        "received_at",
        where="emptied_at IS NULL AND status IN ('handled', 'ignored')",
    ),
    c.index("ix_stripe_webhook_events_received", "received_at", "stripe_event_id"),
    # With these operators list the few among very many.
    c.index(
        "ix_stripe_webhook_events_status",
        "status",
        "received_at",
        "stripe_event_id",
        where="status NOT IN ('received', 'handled')",
    ),
    c.index(
        "ix_stripe_webhook_events_source",
        "source",
        "received_at",
        "stripe_event_id",
        where="source <> 'webhook'",
    ),
    c.index("ix_stripe_webhook_events_parked", "received_at", where="status = 'parked'"),
    c.index(
        "ix_stripe_webhook_events_ignored",
        "received_at",
        where="status = 'ignored' AND type ~ '^(refund|charge[.](refund|dispute))'",
    ),
    c.index("ix_stripe_webhook_events_for_matter", "workflow_id", where="status = 'received'"),
    c.index("ix_stripe_webhook_events_workflow", "workflow_id"),
)
