"""Credits bought automatically: the settings of each account, and each top-up.

The SQL functions of credits write a row when a debit or hold leaves less than the threshold.
"""

from billing.core import columns as c

top_up_settings = c.table(
    "top_up_settings",
    c.account(primary_key=True),
    c.flag("is_enabled"),
    c.amount("threshold"),
    c.text("pack"),
    # The card to charge; null is the account's default at the time.
    c.uuid("payment_method_id", nullable=True),
    # Money, in minor units of the account's currency, within one calendar month of its zone.
    c.bigint("monthly_cap_minor", nullable=True),
    # Failures in a row; at the third, buying stops until the settings are written again.
    c.integer("failures", server_default="0"),
    c.instant("stopped_at", nullable=True),
    c.instant("updated_at"),
    c.same_account("payment_method_id", "payment_methods"),
    c.check("threshold > 0", name="threshold_positive"),
    c.check("monthly_cap_minor > 0", name="cap_positive"),
    c.check("failures >= 0", name="failures_counted"),
)

top_ups = c.table(
    "top_ups",
    c.row_id(),
    c.account(),
    c.text("status"),
    c.text("pack"),
    c.amount("threshold"),
    # Credits available when it was wanted.
    c.amount("available"),
    c.uuid("purchase_id", nullable=True, unique=True),
    c.bigint("amount_minor", nullable=True),
    c.text("currency", nullable=True),
    # Why it failed, or was not bought.
    c.text("reason", nullable=True),
    c.instant("wanted_at"),
    c.instant("decided_at", nullable=True),
    c.whole_key(),
    c.same_account("purchase_id", "purchases", **c.MUTUAL),
    c.check(
        "status IN ('wanted', 'buying', 'completed', 'failed', 'capped', 'dropped')",
        name="status_known",
    ),
    c.check("(status IN ('wanted', 'buying')) = (decided_at IS NULL)", name="decided_once"),
    c.check("status NOT IN ('buying', 'completed') OR purchase_id IS NOT NULL", name="bought_by"),
    c.index(
        "uq_top_ups_undecided", "account_id", unique=True, where="status IN ('wanted', 'buying')"
    ),
    c.index("ix_top_ups_account", "account_id", "wanted_at", "id"),
)
