"""Processes of the product that serve, each with its last sign of life."""

from billing.core import columns as c

processes = c.table(
    "processes",
    c.row_id(),
    # api or worker.
    c.text("kind"),
    c.text("host"),
    c.integer("pid"),
    c.text("version"),
    # In the database's time, so that no process's own clock counts.
    c.instant("started_at"),
    c.instant("seen_at"),
    # How far the process's clock is ahead of the database's.
    c.bigint("clock_ahead_ms"),
    # Figures that only the process knows: its pools, the deliveries it took or refused.
    c.json("figures"),
)
