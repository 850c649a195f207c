"""Budgets: how much an account plans to use or spend in a month or cycle, and the consequence.

The use of a budget's window is read from the counters, so the two never differ. Captures of holds
without a use are on no counter; a budget in credits stores their sum.
"""

from sqlalchemy import Integer
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import ARRAY

from billing.core import columns as c

budgets = c.table(
    "budgets",
    c.row_id(),
    c.account(),
    # 'meter' counts one meter; 'credits' the cost of uses in credits; 'money' the cost of overage
    # on the next invoice, in whole units of the account's currency.
    c.text("measure"),
    # '' unless the measure is a meter.
    c.text("meter", server_default=""),
    c.text("window_kind"),
    c.amount("limit_amount"),
    c.column("alert_percents", ARRAY(Integer)),
    c.flag("is_blocking"),
    # Credits of captures in the window that began at `captured_from`; null: none counted yet.
    c.amount("captured", server_default="0"),
    c.instant("captured_from", nullable=True),
    c.instant("created_at"),
    c.instant("updated_at"),
    # A warning budget and a blocking one may exist side by side.
    Unique("account_id", "measure", "meter", "window_kind", "is_blocking"),
    c.check("measure IN ('meter', 'credits', 'money')", name="measure_known"),
    c.check("(measure = 'meter') = (meter <> '')", name="meter_named"),
    c.check("window_kind IN ('month', 'cycle')", name="window_known"),
    c.check("limit_amount >= 0", name="limit_not_negative"),
)
