"""Trials taken, once per (account, kind) and once per external platform identity."""

from sqlalchemy import UniqueConstraint as Unique

from billing.core import columns as c

trials = c.table(
    "trials",
    c.row_id(),
    c.account(),
    # account_trial (credits, no card) or subscription_trial.
    c.text("kind"),
    # SHA-256 of the platform identity: outlives the erasure of the account.
    c.text("identity_hash", nullable=True),
    c.text("status"),
    c.amount("credits"),
    c.instant("started_at"),
    c.instant("expires_at"),
    c.instant("ended_at", nullable=True),
    Unique("account_id", "kind"),
    c.check("status IN ('active', 'expired', 'converted')", name="status_known"),
    c.index(
        "uq_trials_identity",
        "kind",
        "identity_hash",
        unique=True,
        where="identity_hash IS NOT NULL",
    ),
)

# Every platform identity that an account has had since it took the trial: a shop may change its
# domain.
trial_identities = c.table(
    "trial_identities",
    c.text("kind", primary_key=True),
    c.text("identity_hash", primary_key=True),
    c.account(),
)
