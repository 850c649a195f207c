"""Tries to move money for an invoice.

A payment is one flow (one PaymentIntent, or one manual submission); an attempt is one confirm.
"""

from sqlalchemy import Date, text

from billing.core import columns as c
from billing.core.literals import texts
from billing.money.payments.schemas import LIVE

payments = c.table(
    "payments",
    c.row_id(),
    c.account(),
    c.uuid("invoice_id"),
    c.text("workflow_id"),
    # card, saved_card, checkout, paypal or manual.
    c.text("flow"),
    c.text("intent_key", unique=True),
    c.text("status"),
    c.bigint("amount_minor"),
    c.bigint("received_minor", server_default="0"),
    # Its part returned by refunds and lost disputes, or moved to the money balance.
    c.bigint("refunded_minor", server_default="0"),
    c.text("currency"),
    c.uuid("payment_method_id", nullable=True),
    # That method as it was then: its bank may give it another number.
    c.json("paid_with", nullable=True),
    # PayPal's too: the order is the session, its capture the intent and the charge.
    c.text("stripe_payment_intent_id", nullable=True, unique=True),
    c.text("stripe_checkout_session_id", nullable=True, unique=True),
    c.text("stripe_charge_id", nullable=True),
    c.text("client_secret", nullable=True),
    c.text("redirect_url", nullable=True),
    # Return address of its page; null: the product's own.
    c.text("return_url", nullable=True),
    # Started by the product itself: no payer is present to authenticate.
    c.flag("is_unattended", server_default="false"),
    # Its form was opened by the signed link: whoever has that pays.
    c.flag("by_link", server_default="false"),
    # When the payer chose another flow; this one is then called back.
    c.instant("superseded_at", nullable=True),
    # Noted before the capture of its order is sent, in real time; null once the result is known.
    c.instant("capture_asked_at", nullable=True),
    # Its subscription, as events name it, if that ended with a refund while this was under way:
    # what it brings beyond what is owed goes back to its payer.
    c.json("rest_refund", nullable=True),
    c.text("failure_code", nullable=True),
    c.text("failure_message", nullable=True),
    c.text("failure_class", nullable=True),
    # When the payer last asked to confirm it in the browser.
    c.instant("offered_at", nullable=True),
    c.text("manual_method", nullable=True),
    c.text("transaction_reference", nullable=True),
    # The day the money came, where an operator records it.
    c.column("received_on", Date, nullable=True),
    c.text("submitted_by", nullable=True),
    c.text("decided_by", nullable=True),
    c.instant("decided_at", nullable=True),
    c.text("decision_reason", nullable=True),
    # How often the provider was asked because no webhook came.
    c.integer("checks", server_default="0"),
    c.instant("last_check_at", nullable=True),
    c.instant("created_at"),
    c.instant("paid_at", nullable=True),
    # When its money was booked on the invoice; null while that is still to do.
    c.instant("settled_at", nullable=True),
    c.instant("closed_at", nullable=True),
    c.whole_key(),
    c.same_account("invoice_id", "invoices"),
    c.same_account("payment_method_id", "payment_methods"),
    c.check("amount_minor > 0", name="amount_positive"),
    c.check(
        "status IN ('pending', 'pending_approval', 'processing', 'succeeded', 'completed',"
        " 'failed', 'refunded', 'canceled')",
        name="status_known",
    ),
    # One collector per invoice (docs/rules/payments.md). A manual payment still `pending` waits
    # until the card's intent has been called back, and collects nothing before.
    c.index(
        "uq_payments_one_collector",
        "invoice_id",
        unique=True,
        where=f"status IN {texts(LIVE)} AND NOT (flow = 'manual' AND status = 'pending')",
    ),
    c.index(
        "uq_payments_one_submission",
        "invoice_id",
        unique=True,
        where="flow = 'manual' AND status IN ('pending', 'pending_approval')",
    ),
    c.index("ix_payments_account_created", "account_id", "created_at", "id"),
    c.index("ix_payments_invoice", "invoice_id", "created_at"),
    c.index("ix_payments_charge", "stripe_charge_id", where="stripe_charge_id IS NOT NULL"),
    c.index(
        "ix_payments_reference",
        "transaction_reference",
        where="transaction_reference IS NOT NULL",
    ),
    # For the operators' list of payments that did not succeed.
    c.index("ix_payments_status", "status", "id", where="status <> 'succeeded'"),
    c.index("ix_payments_manual", "id", where="flow = 'manual'"),
    # For those of which PayPal has told nothing.
    c.index("ix_payments_paypal", "settled_at", where="flow = 'paypal'"),
    c.index("ix_payments_approval", "created_at", where="status = 'pending_approval'"),
    # Money that arrived and must be booked at once.
    c.index(
        "ix_payments_unsettled",
        "paid_at",
        where="settled_at IS NULL AND status IN ('succeeded', 'completed')",
    ),
    # For the export of postings.
    c.index("ix_payments_settled", "settled_at", "id"),
    c.index(
        "uq_payments_reference",
        "account_id",
        "transaction_reference",
        unique=True,
        where="transaction_reference IS NOT NULL AND status NOT IN ('failed', 'canceled')",
    ),
)

payment_attempts = c.table(
    "payment_attempts",
    c.row_id(),
    c.account(),
    c.uuid("payment_id", nullable=True),
    c.uuid("invoice_id"),
    c.text("key", unique=True),
    # The dunning slot, or null for a new card's or a retry-now's extra try.
    c.integer("slot", nullable=True),
    c.uuid("payment_method_id", nullable=True),
    # pending while undecided; then succeeded, declined, action, processing, unreached, skipped.
    c.text("status"),
    c.text("decline_code", nullable=True),
    c.text("decline_class", nullable=True),
    c.text("message", nullable=True),
    c.json("detail", server_default="{}"),
    c.instant("started_at"),
    c.instant("real_started_at"),
    c.instant("finished_at", nullable=True),
    c.same_account("invoice_id", "invoices"),
    c.same_account("payment_id", "payments"),
    c.same_account("payment_method_id", "payment_methods"),
    c.index("ix_payment_attempts_invoice", "invoice_id", "started_at"),
    c.index(
        "ix_payment_attempts_charge",
        text("(detail ->> 'charge_id')"),
        where="detail ->> 'charge_id' IS NOT NULL",
    ),
    # For the account's payment history.
    c.index("ix_payment_attempts_account", "account_id", "started_at", "id"),
    # For the recent declines of a card.
    c.index(
        "ix_payment_attempts_declined",
        "account_id",
        "payment_method_id",
        "started_at",
        where="status IN ('declined', 'action')",
    ),
    c.index(
        "ix_payment_attempts_real",
        "real_started_at",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    ),
    c.index("uq_payment_attempts_undecided", "invoice_id", unique=True, where="status = 'pending'"),
)
