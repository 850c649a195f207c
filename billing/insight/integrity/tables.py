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
