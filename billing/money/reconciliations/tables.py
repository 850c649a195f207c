"""Runs of the comparison with the provider, for operators: each with what it found."""

from billing.core import columns as c

reconciliations = c.table(
    "reconciliations",
    c.row_id(),
    # It compares objects that were created in this window.
    c.instant("since_at"),
    c.instant("until_at"),
    # Nobody chose its window: the alert looks at the latest of these runs.
    c.flag("is_whole"),
    c.flag("heal"),
    # The position of a run that has not compared everything.
    c.json("place", nullable=True, server_default="{}"),
    c.json("checked", server_default="{}"),
    c.json("discrepancies", server_default="[]"),
    # It found more discrepancies than the threshold of the alert.
    c.flag("is_alarming", server_default="false"),
    # The reason why it waits or failed.
    c.text("error", nullable=True),
    c.instant("started_at"),
    c.instant("finished_at", nullable=True),
    c.index("ix_reconciliations_started", "started_at", "id"),
)
