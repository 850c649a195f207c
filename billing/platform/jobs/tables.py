"""The instant up to which each recurring job has processed everything."""

from billing.core import columns as c

job_runs = c.table(
    "job_runs",
    c.text("job", primary_key=True),
    # Successful runs processed everything before this; the next one continues here.
    c.instant("looked_until"),
)
