"""The outbox of published facts, numbered per account."""

from sqlalchemy import UniqueConstraint as Unique

from billing.core import columns as c

events = c.table(
    "events",
    c.row_id(),
    c.account(),
    c.bigint("seq"),
    c.text("type"),
    c.json("data"),
    c.text("correlation_id", nullable=True),
    c.instant("occurred_at"),
    c.instant("created_at"),
    # Nothing reads it: the migration after the next release drops it.
    c.instant("published_at", nullable=True),
    Unique("account_id", "seq"),
)

# The number up to which an account's events were deleted by age. `at` is when the latest of them
# was written.
dropped_events = c.table(
    "dropped_events",
    c.account(primary_key=True),
    c.bigint("last_number"),
    c.instant("at"),
)

# Numbers that no event of any account gets: they may have been assigned before a restore.
skipped_events = c.table(
    "skipped_events",
    c.row_id(),
    c.bigint("first_number"),
    c.bigint("last_number"),
    c.text("reason"),
    c.instant("at"),
    Unique("last_number"),
    c.check("first_number <= last_number", name="at_least_one"),
    info={"append_only": True},
)
