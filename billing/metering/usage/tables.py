"""Usage: allowance cycles, billing records, and the counters kept in the records' transaction.

Only the SQL functions usage_* write here; the account's lock (its credit_balances row) orders them.
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
    Numeric,
    Table,
    Text,
    Uuid,
    column,
    table,
    text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from billing.core.database import metadata

AMOUNT = Numeric(27, 12)

usage_periods = Table(
    "usage_periods",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # An allowance cycle of the subscription, else a calendar month; half-open.
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    Column("zone", Text, nullable=False),
    Column("subscription_id", Uuid),
    Column("currency", Text),
    # What the plan gives now: {meter: {"included": "50", "then": "overage", "price": "0.02"}}.
    Column("limits", JSONB, nullable=False),
    # Set when a later one began: what comes for it now is late.
    Column("closed_at", DateTime(timezone=True)),
    # When late use began to wait for an invoice of its own: the subscription has ended.
    Column("late_at", DateTime(timezone=True)),
    # When what no invoice bills yet reached the subscription's billing threshold, until it is
    # billed; and how often that was in this cycle.
    Column("threshold_at", DateTime(timezone=True)),
    Column("threshold_number", Integer, nullable=False, server_default="0"),
    Unique("account_id", "start_at"),
    CheckConstraint("start_at < end_at", name="forward"),
    Index(
        "ix_usage_periods_threshold",
        "account_id",
        postgresql_where=text("threshold_at IS NOT NULL"),
    ),
    Index("ix_usage_periods_late", "account_id", postgresql_where=text("late_at IS NOT NULL")),
    postgresql_with={"fillfactor": 80},
)

# Records that a line bills and that are still pending, for they are many: listed when the line is
# written, completed part by part by the account's matter.
usage_settlements = Table(
    "usage_settlements",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    # External id of the invoice with the line.
    Column("invoice", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("start_at", DateTime(timezone=True), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("records", ARRAY(Uuid), nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
)

# No foreign keys: each would cost every record a look-up, and only the functions that have just
# locked the account write here.
billing_records = Table(
    "billing_records",
    metadata,
    # Of a record with an event id: made from account and event id, so that this key is the wall
    # against counting twice. Else a UUIDv7.
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    Column("event_id", Text),
    Column("request_hash", BigInteger, nullable=False),
    Column("user_id", Text),
    Column("organization_id", Text),
    Column("session_id", Text),
    Column("request_id", Text),
    Column("product_id", Text),
    Column("service_type", Text),
    Column("feature_type", Text),
    Column("operation", Text),
    Column("model", Text),
    Column("meter", Text, nullable=False),
    Column("usage_amount", AMOUNT, nullable=False),
    # How much of it the plan's allowance covers, and the rest.
    Column("included_units", AMOUNT, nullable=False),
    Column("charged_units", AMOUNT, nullable=False),
    Column("unit_price", AMOUNT, nullable=False),
    Column("total_amount", AMOUNT, nullable=False),
    Column("currency", Text, nullable=False),
    Column("billing_method", Text, nullable=False),
    Column("billing_status", Text, nullable=False),
    Column("is_free_tier", Boolean, nullable=False),
    Column("is_late", Boolean, nullable=False),
    Column("failure", Text),
    # The ledger's entry that paid it; the records of one batch may share one.
    Column("transaction_id", Uuid),
    Column("detail", JSONB),
    # The counters it went into: start of its cycle and of its day.
    Column("period_start", DateTime(timezone=True), nullable=False),
    Column("day_at", DateTime(timezone=True), nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False, server_default="usage"),
    CheckConstraint("usage_amount > 0 OR kind <> 'usage'", name="amount_positive"),
    CheckConstraint(
        "billing_status IN ('pending', 'processing', 'completed', 'failed', 'refunded')",
        name="status_known",
    ),
    CheckConstraint("kind IN ('usage', 'true_up')", name="kind_known"),
    # Without the id: its random order would cost more than sorting the few uses of one instant.
    Index("ix_billing_records_account", "account_id", "occurred_at"),
    Index(
        "ix_billing_records_user",
        "account_id",
        "user_id",
        "occurred_at",
        postgresql_where=text("user_id IS NOT NULL"),
    ),
    Index(
        "ix_billing_records_open",
        "account_id",
        "occurred_at",
        "id",
        postgresql_where=text("billing_status <> 'completed'"),
    ),
)

usage_counters = Table(
    "usage_counters",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    # '' the account, 'u:…' one of its users, 'o:…' an organisation, 'p:…' the priced units of a
    # product whose price depends on what was used before.
    Column("owner", Text, primary_key=True),
    # A day, or an hour where the meter asks for it, within one cycle: a day in which a cycle begins
    # has two rows. What a cycle has used is the sum of its days (usage_cycles.sql).
    Column("grain", Text, primary_key=True),
    Column("period_start", DateTime(timezone=True), primary_key=True),
    Column("bucket", DateTime(timezone=True), primary_key=True),
    Column("meter", Text, primary_key=True),
    # Of the account's days 'service|method|status|currency', so that statistics need no scan.
    Column("facet", Text, primary_key=True),
    Column("quantity", AMOUNT, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("maximum", AMOUNT, nullable=False),
    Column("last_value", AMOUNT, nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    # What the records in here cost in credits; units beyond the plan's allowance that the next
    # invoice charges, and what they come to in its currency.
    Column("credits", AMOUNT, nullable=False),
    Column("overage", AMOUNT, nullable=False),
    Column("overage_total", AMOUNT, nullable=False),
    CheckConstraint("grain IN ('hour', 'day')", name="grain_known"),
    postgresql_with={"fillfactor": 70},
)

# A view: what an owner used of a meter in one cycle, the sum of its days.
usage_cycles = table(
    "usage_cycles",
    column("account_id", Uuid),
    column("owner", Text),
    column("period_start", DateTime(timezone=True)),
    column("meter", Text),
    column("quantity", Numeric),
    column("events", BigInteger),
    column("maximum", Numeric),
    column("last_value", Numeric),
    column("credits", Numeric),
    column("overage", Numeric),
    column("overage_total", Numeric),
)

usage_alerts = Table(
    "usage_alerts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # 'plan', or the quota's id; with window and threshold it is told once.
    Column("subject", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("threshold", Integer, nullable=False),
    Column("window_start", DateTime(timezone=True), nullable=False),
    Column("limit_amount", AMOUNT, nullable=False),
    Column("used_amount", AMOUNT, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Unique("account_id", "subject", "meter", "window_start", "threshold"),
    Index("ix_usage_alerts_account", "account_id", "created_at", "id"),
)

billing_events = Table(
    "billing_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("billing_id", Uuid, nullable=False),
    Column("status_before", Text, nullable=False),
    Column("status_after", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("ix_billing_events_record", "account_id", "billing_id", "at"),
    info={"append_only": True},
)
