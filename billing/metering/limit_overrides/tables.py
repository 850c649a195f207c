"""Limits agreed with one account, which override its plan's [B10, B16].

A limit that was ever in force keeps its row: a change ends it and begins the next one.
"""

from sqlalchemy import ForeignKey, Text

from billing.core import columns as c

limit_overrides = c.table(
    "limit_overrides",
    c.row_id(),
    c.account(),
    c.column("meter", Text, ForeignKey("meters.key")),
    # As in billing.catalog.plans.schemas.Limit; `beyond` is its `then`.
    c.amount("included"),
    c.text("beyond"),
    # Price of one unit by currency, in whole currency units, as strings.
    c.json("prices"),
    c.instant("effective_from"),
    c.instant("effective_to", nullable=True),
    # If a contract agrees these: the instants from which on the next period begins or ends it.
    c.instant("agreed_from", nullable=True),
    c.instant("agreed_to", nullable=True),
    # When it begins or ends next: the account's matter then updates the open cycle.
    c.instant("due_at", nullable=True),
    c.check("included >= 0", name="included_not_negative"),
    c.check("beyond IN ('block', 'overage', 'notify')", name="beyond_known"),
    c.check("(beyond = 'overage') = (prices <> '{}')", name="overage_has_prices"),
    c.check("effective_from < effective_to", name="forward"),
    c.index("uq_limit_overrides_account", "account_id", "meter", "effective_from", unique=True),
    c.index("ix_limit_overrides_due", "account_id", where="due_at IS NOT NULL"),
)
