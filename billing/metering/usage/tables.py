"""Usage: allowance cycles, billing records, and counters written in the records' transaction.

Only the SQL functions usage_* write here; the account's lock (its credit_balances row) orders them.
"""

from sqlalchemy import BigInteger, DateTime, Numeric, Text, Uuid, column, func, table
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import ARRAY

from billing.core import columns as c
from billing.metering.usage.rules import FIRST_MONTH

usage_periods = c.table(
    "usage_periods",
    c.row_id(),
    c.account(),
    # An allowance cycle of the subscription, else a calendar month; half-open.
    c.instant("start_at"),
    c.instant("end_at"),
    c.text("zone"),
    c.uuid("subscription_id", nullable=True),
    c.text("currency", nullable=True),
    # The plan that gives `limits`: the subscription's version, else the default plan's.
    c.uuid("plan_id", nullable=True),
    # Its limits now: {meter: {"included": "50", "then": "overage", "price": "0.02"}}. Where use
    # from before the period counts, `carried` is how much less is included; where all use since
    # `carried_since` counts, the limit is `shared` with the periods since then; for a level
    # `beyond` is the number of units that stay beyond the plan, whatever it includes.
    c.json("limits"),
    # When they end before the cycle does: something was scheduled or agreed for then. Null: not.
    c.instant("terms_until", nullable=True),
    # Its earlier limits, oldest first, and their ends, by the account's clock and in real time:
    # [{"until": …, "written": …, "limits": …}]. A use is rated by the terms of its time.
    c.json("limits_before", server_default="[]"),
    # If use from before the period also counts, for products' free units and tiers or for limits
    # that are `shared`: since when.
    c.instant("carried_since", nullable=True),
    # Why no plan gives access: unpaid, paused, past_due, incomplete, no_subscription.
    c.text("no_entitlement", nullable=True),
    # Set when a later one began: further use in it is late.
    c.instant("closed_at", nullable=True),
    # When late use began to wait for a separate invoice, because the subscription has ended.
    c.instant("late_at", nullable=True),
    # When unbilled use reached the subscription's billing threshold, until it is billed; and how
    # often that happened in this cycle.
    c.instant("threshold_at", nullable=True),
    c.integer("threshold_number", server_default="0"),
    # When all its counters were last compared with their records, in real time; null: never since
    # it began, so the previous cycle may have changed after its own comparison.
    c.instant("counted_at", nullable=True),
    Unique("account_id", "start_at"),
    c.check("start_at < end_at", name="forward"),
    c.index("ix_usage_periods_threshold", "account_id", where="threshold_at IS NOT NULL"),
    c.index("ix_usage_periods_late", "account_id", where="late_at IS NOT NULL"),
    postgresql_with={"fillfactor": 80},
)

# Records that a line bills and that are still pending, because they are many: listed when the line
# is written, completed part by part by the account's matter.
usage_settlements = c.table(
    "usage_settlements",
    c.account(primary_key=True),
    # External id of the invoice with the line.
    c.text("invoice", primary_key=True),
    c.text("meter", primary_key=True),
    c.instant("start_at", primary_key=True),
    c.integer("part", primary_key=True),
    c.column("records", ARRAY(Uuid)),
    c.instant("began_at"),
)

# Uses that were deferred, or whose payment failed, until they are paid. The functions usage_* write
# them in the transaction of the record's status.
unpaid_uses = c.table(
    "unpaid_uses",
    c.uuid("record_id", primary_key=True),
    c.account(),
    c.instant("used_at"),
    # The customer is notified once, a week after it was deferred or failed.
    c.instant("overdue_at"),
    c.instant("told_at", nullable=True),
    # From when on a card may pay it; null: no card is tried until there is a new one.
    c.instant("charge_at", nullable=True),
    # When a card was last tried, and how often that happened or was not possible.
    c.instant("tried_at", nullable=True),
    c.integer("tries", server_default="0"),
    c.index("ix_unpaid_uses_overdue", "overdue_at"),
    c.index("ix_unpaid_uses_account", "account_id", "used_at", "record_id"),
    c.index("ix_unpaid_uses_untold", "account_id", "overdue_at", where="told_at IS NULL"),
    c.index(
        "ix_unpaid_uses_charge", "account_id", "charge_at", "used_at", "record_id",
        where="charge_at IS NOT NULL",
    ),
    c.index("ix_unpaid_uses_tried", "account_id", "tried_at", where="tried_at IS NOT NULL"),
)  # fmt: skip

# Credits became available while uses are unpaid: for each row the account's matter pays once what
# they cover.
unpaid_retries = c.table(
    "unpaid_retries",
    c.account(primary_key=True),
    c.uuid("id"),
    c.instant("asked_at"),
    # The first use that was not looked at yet; null: all are to be.
    c.instant("from_at", nullable=True),
    c.uuid("from_id", nullable=True),
)

# No foreign keys: each would cost every record a look-up, and only functions that hold the
# account's lock write here.
billing_records = c.table(
    "billing_records",
    # With an event id: derived from month, account and event id, so that this key prevents counting
    # twice. Otherwise a UUIDv7.
    c.row_id(),
    c.uuid("account_id"),
    c.text("event_id", nullable=True),
    c.bigint("request_hash"),
    c.text("user_id", nullable=True),
    c.text("organization_id", nullable=True),
    c.text("session_id", nullable=True),
    c.text("request_id", nullable=True),
    c.text("product_id", nullable=True),
    c.text("service_type", nullable=True),
    c.text("feature_type", nullable=True),
    c.text("operation", nullable=True),
    c.text("model", nullable=True),
    c.text("meter"),
    c.amount("usage_amount"),
    # How much of it the plan's allowance covers, and the rest.
    c.amount("included_units"),
    c.amount("charged_units"),
    c.amount("unit_price"),
    c.amount("total_amount"),
    c.text("currency"),
    c.text("billing_method"),
    c.text("billing_status"),
    c.flag("is_free_tier"),
    c.flag("is_late"),
    c.text("failure", nullable=True),
    # The ledger's entry that paid it; the records of one batch may share one.
    c.uuid("transaction_id", nullable=True),
    c.json("detail", nullable=True),
    # The counters that include it: start of its cycle and of its day.
    c.instant("period_start"),
    c.instant("day_at"),
    c.instant("occurred_at"),
    c.instant("created_at"),
    c.instant("updated_at"),
    c.text("kind", server_default="usage"),
    # The use that this record voids, with the same figures, negative.
    c.uuid("voids", nullable=True),
    # When it arrived in real time; null: written by the previous release. It shows which accounts
    # changed, and the order of records of one instant.
    c.instant("written_at", nullable=True, server_default=func.clock_timestamp()),
    # Its partition, by arrival in real time. The first one, the default, contains all earlier
    # records and those that the previous release writes.
    c.day("month", primary_key=True, server_default=FIRST_MONTH.isoformat()),
    c.check(
        "kind <> 'usage' OR CASE WHEN voids IS NULL THEN usage_amount >= 0"
        " ELSE usage_amount < 0 END",
        name="amount_signed",
    ),
    c.check(
        "billing_status IN ('pending', 'processing', 'completed', 'failed', 'refunded')",
        name="status_known",
    ),
    c.check("kind IN ('usage', 'true_up')", name="kind_known"),
    # A use is voided once: by a record with an id derived from the use's, in the use's month.
    c.check("voids IS NULL OR id = usage_void_id(voids)", name="voided_once"),
    # Without the id: its random order would cost more than sorting the few uses of one instant.
    c.index("ix_billing_records_account", "account_id", "occurred_at"),
    c.index(
        "ix_billing_records_user",
        "account_id",
        "user_id",
        "occurred_at",
        where="user_id IS NOT NULL",
    ),
    c.index(
        "ix_billing_records_open",
        "account_id",
        "occurred_at",
        "id",
        where="billing_status <> 'completed'",
    ),
    # By ledger entry: entries and records grow together, so a BRIN summary is enough and costs a
    # record nothing. Ranges of 128 pages, which is the default: the first record of each asks
    # autovacuum for a summary, which notes 256 a minute and logs each one beyond.
    c.index(
        "ix_billing_records_entry",
        "transaction_id",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    ),
    c.index(
        "ix_billing_records_written",
        "written_at",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    ),
    postgresql_partition_by="RANGE (month)",
)

# The partitions of billing_records, created in advance by usage_make_months.
usage_months = c.table(
    "usage_months",
    c.day("month", primary_key=True),
    # Nothing is added after this real time; to the first one nothing once no program of the
    # previous release is running.
    c.instant("ends_at"),
)

# Months that were written to a file, and whether their rows are archived. Only the owner's commands
# write here.
month_files = c.table(
    "month_files",
    c.row_id(),
    # The partition's month, and the day before which all its rows arrived.
    c.day("month"),
    c.day("until"),
    c.text("file"),
    # Of the file, and of its rows as Postgres shows them, in any order.
    c.text("digest"),
    c.text("rows_digest"),
    c.bigint("records"),
    c.bigint("size_bytes"),
    c.instant("written_at"),
    c.instant("detached_at", nullable=True),
    c.instant("returned_at", nullable=True),
    c.derived_flag("is_away", "detached_at IS NOT NULL AND returned_at IS NULL"),
    c.check("returned_at IS NULL OR detached_at IS NOT NULL", name="away_before_back"),
    c.index("uq_month_files_away", "month", unique=True, where="is_away"),
)

# Sums of an account's records in an archived month, for the checks: written in the transaction that
# detaches it, and used while the month is archived.
sealed_usage = c.table(
    "sealed_usage",
    c.account(primary_key=True),
    c.reference("file_id", "month_files.id", primary_key=True),
    # The records' sums for each counter, with its columns.
    c.json("counters"),
    # The parts that invoices charged: [{meter, period_start, units, total}].
    c.json("lines"),
    # The number of ledger entries that paid only records of this month, and their sum.
    c.bigint("entries"),
    c.total("credits"),
    # Each of the other entries: [{transaction_id, credits}].
    c.json("shared"),
    info={"append_only": True},
)

usage_counters = c.table(
    "usage_counters",
    c.uuid("account_id", primary_key=True),
    # '' the account, 'u:…' one of its users, 'o:…' an organisation, 'a:…' an operation, 'm:…' a
    # model, 'p:…' the priced units of a product whose price depends on earlier use, 'i:' what the
    # plan included of uses that credits paid.
    c.text("owner", primary_key=True),
    # A day, or an hour for hourly meters, within one cycle: a day in which a cycle begins has two
    # rows. The use of a cycle is the sum of its days (usage_cycles.sql).
    c.text("grain", primary_key=True),
    c.instant("period_start", primary_key=True),
    c.instant("bucket", primary_key=True),
    c.text("meter", primary_key=True),
    # For the account's days 'service|method|status|currency', so that statistics need no scan.
    c.text("facet", primary_key=True),
    c.total("quantity"),
    c.bigint("events"),
    c.amount("maximum"),
    c.amount("last_value"),
    c.instant("last_at"),
    # The records' cost in credits; units that cost money, paid by card at once or charged on the
    # next invoice, and their cost in its currency.
    c.total("credits"),
    c.total("overage"),
    c.total("overage_total"),
    c.check("grain IN ('hour', 'day')", name="grain_known"),
    postgresql_with={"fillfactor": 50},
)

# A view: an owner's use of a meter in one cycle, the sum of its days.
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
    column("covered", Numeric),
    column("net_overage", Numeric),
    column("net_overage_total", Numeric),
)

usage_alerts = c.table(
    "usage_alerts",
    c.row_id(),
    c.account(),
    # 'plan', 'quota <row's id>' or 'budget bud_…'; notified once per window and threshold.
    c.text("subject"),
    c.text("meter"),
    c.text("owner"),
    c.integer("threshold"),
    c.instant("window_start"),
    c.amount("limit_amount"),
    c.total("used_amount"),
    c.instant("created_at"),
    Unique("account_id", "subject", "meter", "window_start", "threshold"),
    c.index("ix_usage_alerts_account", "account_id", "created_at", "id"),
)

billing_events = c.table(
    "billing_events",
    c.row_id(),
    c.account(),
    c.uuid("billing_id"),
    c.text("status_before"),
    c.text("status_after"),
    c.json("detail"),
    c.instant("at"),
    c.index("ix_billing_events_record", "account_id", "billing_id", "at"),
    info={"append_only": True},
)
