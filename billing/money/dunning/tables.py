"""The recovery of one unpaid invoice: its slots, what ran, and how it ended. Pauses of all of one
account's.
"""

from billing.core import columns as c

dunning_cases = c.table(
    "dunning_cases",
    c.row_id(),
    c.account(),
    c.uuid("invoice_id", unique=True),
    c.uuid("subscription_id", nullable=True),
    c.text("status"),
    # The plan's policy when the case opened: days, hour, final_action, grace_days.
    c.json("policy"),
    c.text("zone"),
    # Day 0: when the renewal's own charge was due.
    c.instant("day_zero_at"),
    c.integer("last_slot"),
    c.instant("last_slot_ran_at"),
    c.instant("last_true_attempt_at"),
    c.integer("extended_days", server_default="0"),
    # Nothing is tried before, nor is the end: what was to come when the case was last extended,
    # and the days that it got.
    c.instant("postponed_until", nullable=True),
    c.instant("paused_at", nullable=True),
    # By the pause of all of its account's recovery, whose end resumes it.
    c.flag("is_paused_with_all", server_default="false"),
    c.instant("opened_at"),
    c.instant("closed_at", nullable=True),
    c.text("close_reason", nullable=True),
    c.same_account("invoice_id", "invoices"),
    c.same_account("subscription_id", "subscriptions"),
    c.check(
        "status IN ('open', 'paused', 'recovered', 'exhausted', 'forgiven', 'canceled')",
        name="status_known",
    ),
    c.index("ix_dunning_cases_account", "account_id", "opened_at"),
    c.index("ix_dunning_cases_status", "status"),
    c.index("ix_dunning_cases_opened", "opened_at", "id"),
    c.index("ix_dunning_cases_status_opened", "status", "opened_at", "id"),
)

# Accounts whose recovery is paused as a whole: cases that open meanwhile are paused too.
dunning_pauses = c.table(
    "dunning_pauses",
    c.account(primary_key=True),
    c.text("reason"),
    c.instant("paused_at"),
)
