"""The result and the progress of the hourly audit."""

from billing.core import columns as c

integrity_runs = c.table(
    "integrity_runs",
    # Only the latest run is kept: the table has one row.
    c.flag("is_latest", primary_key=True, server_default="true"),
    c.instant("ran_at"),
    c.integer("checks"),
    # The sentences that do not hold.
    c.json("wrong"),
    # Number of accounts checked.
    c.integer("accounts", nullable=True),
    # The last time that all checks across accounts held.
    c.instant("whole_at", nullable=True),
)

# The last proven number of each series, and when it was last read from the first number on.
proven_series = c.table(
    "proven_series",
    c.text("series", primary_key=True),
    c.bigint("up_to"),
    c.instant("whole_at", nullable=True),
)

# Openings of large accounts: their balance and lots when the hourly run last found them correct.
# The run reads only newer rows; without an opening, and in rotation, it reads everything.
proven_books = c.table(
    "proven_books",
    c.uuid("account_id", primary_key=True),
    # Number and time of the last entry, and the balance after it.
    c.bigint("seq"),
    c.instant("at"),
    c.amount("balance"),
    c.amount("used"),
    c.amount("debt"),
    # The remaining credits of each lot that is not empty: {id: amount}.
    c.json("lots"),
    # Uses of days that began before this are proven.
    c.instant("day"),
    # The rotation has reached the account: it gets a full check.
    c.flag("is_due", server_default="false"),
)
