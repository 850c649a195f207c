"""The rounds of jobs that look at accounts: at those that moved, and at all others in turn."""

from uuid import UUID

from sqlalchemy import func

from billing.core import columns as c

check_rounds = c.table(
    "check_rounds",
    c.text("job", primary_key=True),
    # Accounts that moved before are noted, or were looked at.
    c.instant("noted_until", server_default=func.transaction_timestamp()),
    # In the round that goes on, accounts up to this one are noted, or were looked at.
    c.uuid("noted_account", server_default=str(UUID(int=0))),
    # When the last round had noted everybody.
    c.instant("ended_at", nullable=True),
)

# Accounts that a job has still to look at. What breaks a check stays until it no longer does.
accounts_to_check = c.table(
    "accounts_to_check",
    c.uuid("account_id", primary_key=True),
    c.text("job", primary_key=True),
    c.instant("noted_at"),
    # What the last look found: [{"name": …, "violations": …, "examples": […]}].
    c.json("broken", server_default="[]"),
    c.index("ix_accounts_to_check_job", "job", "account_id"),
)
