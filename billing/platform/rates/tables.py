"""Requests that each caller took of its rate, counted for all processes of the API together."""

from billing.core import columns as c

# Not logged: a crash of Postgres lets every caller begin anew, and no write waits for the disk.
rate_windows = c.table(
    "rate_windows",
    # The class of routes and the caller.
    c.text("name", primary_key=True),
    # In the database's time: the window begins with the caller's first request.
    c.instant("began_at"),
    c.bigint("taken"),
    prefixes=["UNLOGGED"],
)
