"""The rounds of jobs that check accounts: changed accounts, and all others in rotation."""

from uuid import UUID

from sqlalchemy import func

from billing.core import columns as c

check_rounds = c.table(
    "check_rounds",
    c.text("job", primary_key=True),
    # Accounts that changed before this are marked, or were checked.
    c.instant("noted_until", server_default=func.transaction_timestamp()),
    # In the current round, accounts up to this one are marked, or were checked.
    c.uuid("noted_account", server_default=str(UUID(int=0))),
    # When the last round had marked every account.
    c.instant("ended_at", nullable=True),
)

# Accounts that a job still has to check. An account that fails a check stays until it passes.
accounts_to_check = c.table(
    "accounts_to_check",
    c.uuid("account_id", primary_key=True),
    c.text("job", primary_key=True),
    c.instant("noted_at"),
    # The last check's findings: [{"name": …, "violations": …, "examples": […]}].
    c.json("broken", server_default="[]"),
    c.index("ix_accounts_to_check_job", "job", "account_id"),
)
