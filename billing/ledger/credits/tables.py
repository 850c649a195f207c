"""Credits of an account: the balance row that is its lock, lots, the ledger, and holds over lots.

Σ transactions = Σ lots.remaining = balance, and Σ lots.held = held, at every commit; only the SQL
functions in sql/ write here, apart from the currency and the event counter.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

CREDITS = Numeric(27, 12)

credit_balances = Table(
    "credit_balances",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    Column("balance", CREDITS, nullable=False, server_default="0"),
    Column("held", CREDITS, nullable=False, server_default="0"),
    # Spent beyond the balance with force; the next grant pays it first (docs/rules.md#credits).
    Column("debt", CREDITS, nullable=False, server_default="0"),
    Column("overdraft", CREDITS, nullable=False, server_default="0"),
    # Credits are bought when less than this is available; null: never. Not before `top_up_from`
    # (a pause after a failure or a cap), and not while one purchase is undecided.
    Column("top_up_below", CREDITS),
    Column("top_up_from", DateTime(timezone=True)),
    Column("top_up_open", Boolean, nullable=False, server_default=false()),
    # Told once when the balance falls below this; null: only when nothing is left.
    Column("low_below", CREDITS),
    # All credits ever used; each ledger row keeps its value then, so any window is two look-ups.
    Column("used", CREDITS, nullable=False, server_default="0"),
    Column("currency", Text),
    Column("period_id", Uuid),
    # The strictest of the account's budgets, 'notify' or 'block'; null: it has none.
    Column("budget_mode", Text),
    Column("event_seq", BigInteger, nullable=False, server_default="0"),
    # Number and time of the last ledger row: the ledger never goes back in time.
    Column("seq", BigInteger, nullable=False, server_default="0"),
    Column("last_at", DateTime(timezone=True)),
    # The earliest instant at which a lot or hold may expire; early is allowed, late is not.
    Column("next_expiry", DateTime(timezone=True)),
    # One sum for all: each constraint is compiled anew for every statement that changes the row.
    CheckConstraint(
        "least(balance - held, held, debt, overdraft, used, top_up_below, low_below) >= 0",
        name="amounts",
    ),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
    # Every debit updates this row in place: room on the page keeps it out of the index.
    postgresql_with={"fillfactor": 50},
)

credit_lots = Table(
    "credit_lots",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("kind", Text, nullable=False),
    # What it may be spent on; null is anything.
    Column("scope", Text),
    Column("priority", Integer, nullable=False),
    Column("is_paid", Boolean, nullable=False),
    Column("amount", CREDITS, nullable=False),
    Column("remaining", CREDITS, nullable=False),
    Column("held", CREDITS, nullable=False, server_default="0"),
    # Of the held part: to be taken back, not given back, when it is released.
    Column("claimed", CREDITS, nullable=False, server_default="0"),
    # Asked back: taken, and not to be had any more because it was spent.
    Column("clawed", CREDITS, nullable=False, server_default="0"),
    Column("lost", CREDITS, nullable=False, server_default="0"),
    Column("expires_at", DateTime(timezone=True)),
    Column("is_open", Boolean, nullable=False),
    Column("grant_key", Text, nullable=False, unique=True),
    # Ledger number of its grant: the order of age.
    Column("granted_seq", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # When the account was told that it ends soon.
    Column("noticed_at", DateTime(timezone=True)),
    CheckConstraint(
        "amount > 0 AND kind IN ('trial', 'plan', 'purchase', 'adjustment', 'refund', 'dispute')",
        name="kind_known",
    ),
    CheckConstraint(
        "least(amount - remaining, remaining - held, held - claimed, claimed, clawed, lost,"
        " amount - clawed - claimed - lost) >= 0 AND is_open = (remaining > 0)",
        name="amounts",
    ),
    # Burn order (docs/rules.md#credits). What changes with a debit stays out of keys and predicate.
    Index(
        "ix_credit_lots_burn",
        "account_id",
        text("(scope IS NULL)"),
        "priority",
        "expires_at",
        "is_paid",
        "granted_seq",
        postgresql_where=text("is_open"),
    ),
    Index("ix_credit_lots_account", "account_id", "granted_seq"),
    postgresql_with={"fillfactor": 50},
)

# No foreign keys on the two tables below: each would cost every debit a look-up, and only the
# functions that have just locked the account write here; `credits.invariants` looks for strays.
credit_transactions = Table(
    "credit_transactions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", CREDITS, nullable=False),
    # Change of what the account owes: a forced debit adds what no lot covered, a grant pays it.
    Column("debt", CREDITS, nullable=False, server_default="0"),
    Column("balance_after", CREDITS, nullable=False),
    Column("used_after", CREDITS, nullable=False),
    # The only unique key, and it names the account itself: two unique indexes that both begin
    # with account_id let the planner choose the wrong one.
    Column("key", Text, nullable=False, unique=True),
    Column("request_hash", Text),
    # What a debit was allowed to take, for those who ask why it took these lots.
    Column("scope", Text),
    Column("paid_only", Boolean, nullable=False, server_default=false()),
    Column("reason", Text, nullable=False),
    Column("subject", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("real_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        "(kind = 'grant' AND amount > 0 AND debt = 0)"
        " OR (kind = 'debit' AND amount <= 0 AND debt >= 0 AND amount < debt)"
        " OR (kind IN ('capture', 'expire', 'adjustment') AND amount < 0 AND debt = 0)"
        " OR (kind = 'debt' AND amount < 0 AND debt = amount)"
        " OR (kind = 'clawback' AND amount <= 0 AND debt = 0)",
        name="kind_and_sign",
    ),
    CheckConstraint("balance_after >= 0", name="balance_not_negative"),
    Index("ix_credit_transactions_account", "account_id", "at", "seq"),
    info={"append_only": True},
)

credit_transaction_lots = Table(
    "credit_transaction_lots",
    metadata,
    Column("transaction_id", Uuid, primary_key=True),
    Column("lot_id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    # Signed like the transaction: a grant's one line is positive, a debit's lines are negative.
    Column("amount", CREDITS, nullable=False),
    CheckConstraint("amount <> 0", name="amount_not_zero"),
    Index("ix_credit_transaction_lots_lot", "lot_id"),
    info={"append_only": True},
)

credit_holds = Table(
    "credit_holds",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("amount", CREDITS, nullable=False),
    Column("captured", CREDITS, nullable=False, server_default="0"),
    Column("key", Text, nullable=False, unique=True),
    Column("request_hash", Text, nullable=False),
    Column("scope", Text),
    Column("paid_only", Boolean, nullable=False, server_default=false()),
    Column("reason", Text, nullable=False),
    Column("subject", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("resolved_at", DateTime(timezone=True)),
    CheckConstraint(
        "amount > 0 AND least(captured, amount - captured) >= 0"
        " AND (captured > 0) = (status = 'captured')",
        name="amounts",
    ),
    CheckConstraint(
        "status IN ('open', 'captured', 'released', 'expired')"
        " AND (status = 'open') = (resolved_at IS NULL)",
        name="status_known",
    ),
    Index(
        "ix_credit_holds_open",
        "account_id",
        "expires_at",
        postgresql_where=text("status = 'open'"),
    ),
    Index("ix_credit_holds_account", "account_id", "id"),
)

# No foreign keys, as above.
credit_hold_lots = Table(
    "credit_hold_lots",
    metadata,
    Column("hold_id", Uuid, primary_key=True),
    # Burn order at the time of the hold; a partial capture takes from the front.
    Column("position", Integer, primary_key=True),
    Column("lot_id", Uuid, nullable=False),
    Column("account_id", Uuid, nullable=False),
    Column("amount", CREDITS, nullable=False),
    CheckConstraint("amount > 0", name="amount_positive"),
    Index("ix_credit_hold_lots_lot", "lot_id"),
    info={"append_only": True},
)
