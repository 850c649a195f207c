"""The result of the hourly look at the books."""

from billing.core import columns as c

integrity_runs = c.table(
    "integrity_runs",
    # The latest one is of interest, and there is one.
    c.flag("is_latest", primary_key=True, server_default="true"),
    c.instant("ran_at"),
    c.integer("checks"),
    # The sentences that do not hold.
    c.json("wrong"),
    # How many accounts it looked at.
    c.integer("accounts", nullable=True),
    # When last everything held that no account shows alone.
    c.instant("whole_at", nullable=True),
)

# How far the numbers of each series are proven, and when they were last read from the first on.
proven_series = c.table(
    "proven_series",
    c.text("series", primary_key=True),
    c.bigint("up_to"),
    c.instant("whole_at", nullable=True),
)

# Openings of large accounts: what their books stated when the hourly run last found them right. It
# reads only what came since; without one, and in the account's turn, it reads everything.
proven_books = c.table(
    "proven_books",
    c.uuid("account_id", primary_key=True),
    # Number and time of the last entry, and what the balance stated.
    c.bigint("seq"),
    c.instant("at"),
    c.amount("balance"),
    c.amount("used"),
    c.amount("debt"),
    # What is left of each lot that is not empty: {id: amount}.
    c.json("lots"),
    # Uses of days that began before are proven.
    c.instant("day"),
    # It is the account's turn: everything is to be read.
    c.flag("is_due", server_default="false"),
)
