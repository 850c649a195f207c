"""Up to when each job that repeats has looked at all that came."""

from billing.core import columns as c

job_runs = c.table(
    "job_runs",
    c.text("job", primary_key=True),
    # Everything of before was looked at, by runs that ended well; the next one goes on from here.
    c.instant("looked_until"),
)
