"""Requests of each caller, counted for all processes of the API together."""

from billing.core import columns as c

# Unlogged: no write waits for the disk; a crash of Postgres resets every caller's count.
rate_windows = c.table(
    "rate_windows",
    # The class of routes and the caller.
    c.text("name", primary_key=True),
    # In the database's time: the window begins with the caller's first request.
    c.instant("began_at"),
    c.bigint("taken"),
    prefixes=["UNLOGGED"],
)
