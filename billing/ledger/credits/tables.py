"""Credits of an account: the balance row that is its lock, lots, the ledger, and holds over lots.

Σ transactions = Σ lots.remaining = balance, and Σ lots.held = held, at every commit; only the SQL
functions in sql/ write here, apart from the currency and the event counter.
"""

from sqlalchemy import false, text

from billing.core import columns as c

credit_balances = c.table(
    "credit_balances",
    c.account(primary_key=True),
    c.amount("balance", server_default="0"),
    c.amount("held", server_default="0"),
    # Spent beyond the balance with force; the next grant pays it first (docs/rules/credits.md).
    c.amount("debt", server_default="0"),
    c.amount("overdraft", server_default="0"),
    # Credits are bought when less than this is available; null: never. Not before `top_up_from`
    # (a pause after a failure or a cap), and not while one purchase is undecided.
    c.amount("top_up_below", nullable=True),
    c.instant("top_up_from", nullable=True),
    c.flag("top_up_open", server_default=false()),
    # The account is notified once when the balance falls below this; null: when nothing is left.
    c.amount("low_below", nullable=True),
    # All credits ever used; each ledger row keeps its value then, so any window is two look-ups.
    c.amount("used", server_default="0"),
    c.text("currency", nullable=True),
    c.uuid("period_id", nullable=True),
    # The strictest of the account's budgets, 'notify' or 'block'; null: it has none.
    c.text("budget_mode", nullable=True),
    c.bigint("event_seq", server_default="0"),
    # Number and time of the last ledger row: the ledger never goes back in time.
    c.bigint("seq", server_default="0"),
    c.instant("last_at", nullable=True),
    # The earliest instant at which a lot or hold may expire; early is allowed, late is not.
    c.instant("next_expiry", nullable=True),
    # One check for all: each one is compiled again for every statement that changes the row.
    c.check(
        "least(balance - held, held, debt, overdraft, used, top_up_below, low_below) >= 0",
        name="amounts",
    ),
    c.check("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
    # Every debit updates this row in place: room on the page keeps it out of the index.
    postgresql_with={"fillfactor": 50},
)

credit_lots = c.table(
    "credit_lots",
    c.row_id(),
    c.account(),
    c.text("kind"),
    # What it may be spent on; null is anything.
    c.text("scope", nullable=True),
    c.integer("priority"),
    c.flag("is_paid"),
    c.amount("amount"),
    c.amount("remaining"),
    c.amount("held", server_default="0"),
    # The held part that is clawed back, not given back, when it is released.
    c.amount("claimed", server_default="0"),
    # Clawbacks: what was taken, and what was lost because it was already spent.
    c.amount("clawed", server_default="0"),
    c.amount("lost", server_default="0"),
    c.instant("expires_at", nullable=True),
    # The ends that it had before, oldest first: each with the `seq` of the ledger's last row then.
    c.json("ends_before", nullable=True),
    # The end of the cycle of rollover credits; from then on they exist by rollover.
    c.instant("kept_from", nullable=True),
    # The end of the cycle that granted rollover credits, whatever they rolled over into since.
    c.instant("cycle_end", nullable=True),
    c.flag("is_open"),
    c.text("grant_key", unique=True),
    # Ledger number of its grant: the order of age.
    c.bigint("granted_seq"),
    c.instant("created_at"),
    # When the account was notified that it ends soon.
    c.instant("noticed_at", nullable=True),
    c.check(
        "amount > 0 AND kind IN ('trial', 'plan', 'purchase', 'adjustment', 'refund', 'dispute')",
        name="kind_known",
    ),
    c.check(
        "least(amount - remaining, remaining - held, held - claimed, claimed, clawed, lost,"
        " amount - clawed - claimed - lost) >= 0 AND is_open = (remaining > 0)",
        name="amounts",
    ),
    # Burn order (docs/rules/credits.md). What changes with a debit stays out of keys and predicate.
    c.index(
        "ix_credit_lots_burn",
        "account_id",
        text("(scope IS NULL)"),
        "priority",
        "expires_at",
        "is_paid",
        "granted_seq",
        where="is_open",
    ),
    c.index("ix_credit_lots_account", "account_id", "granted_seq"),
    c.index("ix_credit_lots_created", "account_id", "created_at"),
    c.index("ix_credit_lots_plan", "account_id", "expires_at", where="kind = 'plan'"),
    # Ends to announce; here too nothing changes with a debit.
    c.index(
        "ix_credit_lots_unnoticed",
        "account_id",
        "expires_at",
        where="is_open AND noticed_at IS NULL AND expires_at IS NOT NULL",
    ),
    postgresql_with={"fillfactor": 50},
)

# No foreign keys on the two tables below: each would cost every debit a look-up, and only the
# functions that have just locked the account write here; `credits.invariants` looks for strays.
credit_transactions = c.table(
    "credit_transactions",
    c.row_id(),
    c.uuid("account_id"),
    c.bigint("seq"),
    c.text("kind"),
    c.amount("amount"),
    # Change of what the account owes: a forced debit adds what no lot covered, a grant pays it.
    c.amount("debt", server_default="0"),
    c.amount("balance_after"),
    c.amount("used_after"),
    # The only unique key, and it names the account itself: two unique indexes that both begin
    # with account_id let the planner choose the wrong one.
    c.text("key", unique=True),
    c.text("request_hash", nullable=True),
    # What a debit was allowed to take, to explain why it took these lots.
    c.text("scope", nullable=True),
    c.flag("paid_only", server_default=false()),
    c.text("reason"),
    c.text("subject", nullable=True),
    c.json("detail", server_default="{}"),
    c.instant("at"),
    c.instant("real_at"),
    c.check(
        "(kind = 'grant' AND amount > 0 AND debt = 0)"
        " OR (kind = 'void' AND amount > 0 AND debt = 0)"
        " OR (kind = 'debit' AND amount <= 0 AND debt >= 0 AND amount < debt)"
        " OR (kind IN ('capture', 'expire', 'adjustment') AND amount < 0 AND debt = 0)"
        " OR (kind = 'debt' AND amount < 0 AND debt = amount)"
        " OR (kind = 'clawback' AND amount <= 0 AND debt = 0)",
        name="kind_and_sign",
    ),
    c.check("balance_after >= 0", name="balance_not_negative"),
    c.index("ix_credit_transactions_account", "account_id", "at", "seq"),
    # The few entries among the debits; these never write to it.
    c.index(
        "ix_credit_transactions_kind",
        "account_id",
        "kind",
        "at",
        "seq",
        where="kind NOT IN ('debit', 'capture')",
    ),
    # Finds what a purchase granted.
    c.index("ix_credit_transactions_granted", "account_id", "subject", where="kind = 'grant'"),
    info={"append_only": True},
)

credit_transaction_lots = c.table(
    "credit_transaction_lots",
    c.uuid("transaction_id", primary_key=True),
    c.uuid("lot_id", primary_key=True),
    c.uuid("account_id"),
    # Signed like the transaction: a grant's one line is positive, a debit's lines are negative.
    c.amount("amount"),
    c.check("amount <> 0", name="amount_not_zero"),
    c.index("ix_credit_transaction_lots_lot", "lot_id"),
    info={"append_only": True},
)

credit_holds = c.table(
    "credit_holds",
    c.row_id(),
    c.account(),
    c.text("status"),
    c.amount("amount"),
    c.amount("captured", server_default="0"),
    c.text("key", unique=True),
    c.text("request_hash"),
    c.text("scope", nullable=True),
    c.flag("paid_only", server_default=false()),
    c.text("reason"),
    c.text("subject", nullable=True),
    c.instant("created_at"),
    c.instant("expires_at"),
    c.instant("resolved_at", nullable=True),
    # The `sub` of the caller who made it: a member may not spend another's.
    c.text("made_by", nullable=True),
    # The Idempotency-Key that captured it: with another one a capture is of other work.
    c.text("capture_key", nullable=True),
    c.check(
        "amount > 0 AND least(captured, amount - captured) >= 0"
        " AND (captured > 0) = (status = 'captured')",
        name="amounts",
    ),
    c.check(
        "status IN ('open', 'captured', 'released', 'expired')"
        " AND (status = 'open') = (resolved_at IS NULL)",
        name="status_known",
    ),
    c.index("ix_credit_holds_open", "account_id", "expires_at", where="status = 'open'"),
    c.index("ix_credit_holds_account", "account_id", "id"),
    c.index(
        "ix_credit_holds_ended",
        "account_id",
        "status",
        "id",
        where="status IN ('released', 'expired')",
    ),
)

# No foreign keys, as above.
credit_hold_lots = c.table(
    "credit_hold_lots",
    c.uuid("hold_id", primary_key=True),
    # Burn order at the time of the hold; a partial capture takes from the front.
    c.integer("position", primary_key=True),
    c.uuid("lot_id"),
    c.uuid("account_id"),
    c.amount("amount"),
    c.check("amount > 0", name="amount_positive"),
    c.index("ix_credit_hold_lots_lot", "lot_id"),
    info={"append_only": True},
)

# The usage log of a capture without a use of a meter: written with its entry [F4]. The log
# of every other spend is its billing record. No foreign keys, as above.
capture_logs = c.table(
    "capture_logs",
    c.uuid("transaction_id", primary_key=True),
    c.uuid("account_id"),
    # Who made the hold.
    c.text("user_id", nullable=True),
    # The reason and the model that the caller gave.
    c.text("operation"),
    c.text("model", nullable=True),
    c.amount("credits"),
    c.flag("paid_only"),
    c.json("detail", server_default="{}"),
    c.instant("created_at"),
    c.check("credits > 0", name="credits_positive"),
    c.index("ix_capture_logs_account", "account_id", "created_at", "transaction_id"),
    info={"append_only": True},
)
