"""Stored payment methods (metadata only), and cards being saved."""

from billing.core import columns as c

payment_methods = c.table(
    "payment_methods",
    c.row_id(),
    c.account(),
    c.text("kind", server_default="card"),
    # The provider's own name of the kind: card, us_bank_account, sepa_debit.
    c.text("provider_kind", server_default="card"),
    c.text("provider", server_default="stripe"),
    c.text("stripe_payment_method_id", unique=True),
    c.text("brand", nullable=True),
    c.text("last4", nullable=True),
    c.integer("exp_month", nullable=True),
    c.integer("exp_year", nullable=True),
    c.text("fingerprint", nullable=True),
    # The fingerprint, unique per account; null in rows that share one card: older ones, and those
    # to whose card its bank gave the number of another.
    c.text("one_card", nullable=True),
    c.text("country", nullable=True),
    # The owner's name for it.
    c.text("label", nullable=True),
    c.flag("is_default", server_default="false"),
    # Charged for an open invoice when the charged card was refused for good.
    c.flag("is_backup", server_default="false"),
    # removing: removed for its owner, still to be detached at the provider.
    c.text("status", server_default="active"),
    # Set by do_not_try_again: no attempt until the bank gives the card another number.
    c.instant("barred_at", nullable=True),
    # The expiry that its owner was notified of, such as 2027-03.
    c.text("told_expiry", nullable=True),
    # When it became the one to use; a date after the last attempt earns an extra try.
    c.instant("chosen_at"),
    c.instant("created_at"),
    c.instant("removed_at", nullable=True),
    c.whole_key(),
    c.check("kind IN ('card', 'bank_transfer', 'other')", name="kind_known"),
    c.check("status IN ('active', 'removing', 'detached')", name="status_known"),
    c.check("status = 'active' OR NOT is_default", name="default_is_active"),
    c.index("ix_payment_methods_account", "account_id", "created_at", "id"),
    c.index(
        "uq_payment_methods_default",
        "account_id",
        unique=True,
        where="is_default AND status = 'active'",
    ),
    c.index(
        "uq_payment_methods_backup",
        "account_id",
        unique=True,
        where="is_backup AND status = 'active'",
    ),
    c.index(
        "uq_payment_methods_one_card",
        "account_id",
        "one_card",
        unique=True,
        where="status = 'active'",
    ),
)

setup_intents = c.table(
    "setup_intents",
    c.row_id(),
    c.account(),
    c.text("stripe_setup_intent_id", nullable=True, unique=True),
    c.text("client_secret", nullable=True),
    # pending until the provider has it, then the provider's status; refused and expired end it.
    c.text("status"),
    c.flag("make_default"),
    # The saved method.
    c.uuid("payment_method_id", nullable=True),
    # How often the provider was asked because no webhook came.
    c.integer("checks", server_default="0"),
    # When its owner said that it is done, so that the provider is asked at once.
    c.instant("asked_at", nullable=True),
    # How often its owner said so.
    c.integer("asks", server_default="0"),
    c.instant("created_at"),
    c.instant("finished_at", nullable=True),
    c.same_account("payment_method_id", "payment_methods"),
    c.check(
        "status IN ('pending', 'waiting', 'action', 'processing', 'failed', 'succeeded',"
        " 'canceled', 'refused', 'expired')",
        name="status_known",
    ),
    c.index("ix_setup_intents_account", "account_id", "created_at"),
    c.index("ix_setup_intents_unfinished", "account_id", "created_at", where="finished_at IS NULL"),
)

portal_sessions = c.table(
    "portal_sessions",
    c.row_id(),
    c.account(),
    # Where the provider's pages lead back to.
    c.text("return_url"),
    # pending until the provider has opened it.
    c.text("status"),
    # Whoever has it may change the account's cards, for some minutes.
    c.text("url", nullable=True),
    c.instant("created_at"),
    c.instant("finished_at", nullable=True),
    c.check("status IN ('pending', 'open', 'refused')", name="status_known"),
    c.index("ix_portal_sessions_account", "account_id", "created_at"),
    c.index(
        "ix_portal_sessions_unfinished", "account_id", "created_at", where="finished_at IS NULL"
    ),
)
