"""Serving processes, each with its last heartbeat."""

from billing.core import columns as c

processes = c.table(
    "processes",
    c.row_id(),
    # api or worker.
    c.text("kind"),
    c.text("host"),
    c.integer("pid"),
    c.text("version"),
    # In the database's time, because clocks of processes may differ.
    c.instant("started_at"),
    c.instant("seen_at"),
    # The heartbeats that were committed: a process that counts more knows that commits are lost.
    c.bigint("beats"),
    # How far the process's clock is ahead of the database's.
    c.bigint("clock_ahead_ms"),
    # Figures that only the process knows, such as its pools and its deliveries.
    c.json("figures"),
)
