"""Times in which nothing may move money, such as after a restore to an earlier point."""

from sqlalchemy import text

from billing.core import columns as c

parkings = c.table(
    "parkings",
    c.row_id(),
    c.text("reason"),
    # The latest activity in the database when it was parked; only Stripe knows what came later.
    c.instant("data_until", nullable=True),
    c.instant("parked_at"),
    c.instant("ended_at", nullable=True),
    # One at a time.
    c.index("uq_parkings_open", text("(ended_at IS NULL)"), unique=True, where="ended_at IS NULL"),
)
