"""The rows since an opening, for checks of a large account that was correct then.

An opening has the balance and lots of that time. It is subtracted from their current rows, so that
the unchanged checks see books that began empty. Uses are compared for the days that had not ended
then or have begun since. A finding may come from a change of an older row: a full check must
confirm it.
"""

from pathlib import Path
from typing import Final

from billing.insight.integrity.narrowed import ACCOUNTS
from billing.metering import usage

# Within its own query, and in queries listed before it, a name means the table.
_USES: Final = f"""
    SELECT * FROM billing_records
    WHERE account_id = {ACCOUNTS} AND occurred_at >= :day AND day_at >= :day"""  # noqa: S608
_ENTRIES: Final = f"""
    SELECT id, account_id, seq - :seq AS seq, kind, amount, debt,
        balance_after - :balance AS balance_after, key, subject
    FROM credit_transactions
    WHERE account_id = {ACCOUNTS} AND at >= :at AND seq > :seq"""  # noqa: S608
_COUNTERS: Final = f"""
    SELECT * FROM usage_counters
    WHERE account_id = {ACCOUNTS} AND grain = 'day' AND bucket >= :day"""  # noqa: S608
# The body of the view, which reads the counters of these days under the table's name.
_CYCLES: Final = (
    (Path(usage.__file__).parent / "sql/views/usage_cycles.sql")
    .read_text()
    .partition(" AS\n")[2]
    .rstrip(";\n")
)

SUMS: Final = {
    "billing_records": _USES,
    "credit_transactions": _ENTRIES,
    "credit_transaction_lots": """
        SELECT p.* FROM credit_transactions t
        JOIN credit_transaction_lots p ON p.transaction_id = t.id""",
    "parts_of_lots": "SELECT * FROM credit_transaction_lots",
    "credit_balances": f"""
        SELECT account_id, balance - :balance AS balance, held, debt - :debt AS debt,
            used - :used AS used, seq - :seq AS seq
        FROM credit_balances WHERE account_id = {ACCOUNTS}""",  # noqa: S608
    "credit_lots": f"""
        SELECT id, account_id, held, remaining
            - coalesce(CAST(CAST(:lots AS jsonb) ->> CAST(id AS text) AS numeric), 0) AS remaining,
            amount, clawed, grant_key, granted_seq - :seq AS granted_seq
        FROM credit_lots WHERE account_id = {ACCOUNTS}""",  # noqa: S608
    "credit_holds": f"""
        SELECT * FROM credit_holds
        WHERE account_id = {ACCOUNTS} AND status = 'open'
        UNION ALL
        SELECT * FROM credit_holds
        WHERE account_id = {ACCOUNTS} AND resolved_at > :at AND id >= :first_hold""",  # noqa: S608
    "credit_hold_lots": """
        SELECT p.* FROM credit_holds h JOIN credit_hold_lots p ON p.hold_id = h.id""",
    "hold_parts_of_lots": "SELECT * FROM credit_hold_lots",
    "usage_counters": _COUNTERS,
    "usage_cycles": _CYCLES,
    "sealed_counters": f"""
        SELECT * FROM sealed_counters
        WHERE account_id = {ACCOUNTS} AND bucket >= :day""",  # noqa: S608
}
"""Rows of each table for the statement that reads most; a query may use the names before it."""

PAID: Final = {
    "before": f"""
        SELECT id FROM credit_transactions
        WHERE account_id = {ACCOUNTS} AND at >= :day AND seq <= :seq""",  # noqa: S608
    "credit_transactions": _ENTRIES,
    "capture_logs": """
        SELECT c.* FROM credit_transactions t
        JOIN capture_logs c ON c.transaction_id = t.id""",
    "uses": _USES + " AND transaction_id IS NOT NULL",
    # These entries paid an older use. Each look-up by the page summary index takes milliseconds;
    # entries beyond the limit seem wrong, and so cause a full check.
    "others": """
        SELECT t.id, t.account_id, t.key, t.subject FROM credit_transactions t
        WHERE t.kind IN ('debit', 'capture', 'void')
          AND NOT EXISTS (SELECT FROM capture_logs c WHERE c.transaction_id = t.id)
          AND NOT EXISTS (SELECT FROM uses u WHERE u.transaction_id = t.id)
        LIMIT 100""",
    # Uses of these days paid after the opening; an earlier payment's entry is in `before`.
    "billing_records": """
        SELECT u.* FROM uses u
        WHERE NOT EXISTS (SELECT FROM before t WHERE t.id = u.transaction_id)
        UNION ALL
        SELECT r.* FROM others t
        CROSS JOIN LATERAL (
            SELECT * FROM billing_records r
            WHERE r.transaction_id = t.id AND r.account_id = t.account_id
              AND r.month = ANY (usage_entry_months(t.id, t.key, t.subject)) OFFSET 0) r""",
    # Entries that paid uses of an archived month are older.
    "sealed_entries": f"""
        SELECT * FROM sealed_entries WHERE account_id = {ACCOUNTS} AND false""",  # noqa: S608
}
"""Rows for the check of entries against uses."""

BILLED: Final = {
    "cycles": f"""
        SELECT l.period_start
        FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id
        WHERE i.account_id = {ACCOUNTS} AND i.created_at >= :day AND l.kind = 'usage'
        UNION
        SELECT period_start FROM billing_records
        WHERE account_id = {ACCOUNTS} AND occurred_at >= :day AND currency <> 'CREDIT'
          AND billing_method = 'subscription_included'
          AND billing_status IN ('completed', 'refunded')""",  # noqa: S608
    "billing_records": f"""
        SELECT * FROM billing_records
        WHERE account_id = {ACCOUNTS} AND period_start IN (SELECT period_start FROM cycles)
          AND occurred_at >= (SELECT min(period_start) FROM cycles)""",  # noqa: S608
    "sealed_lines": f"""
        SELECT * FROM sealed_lines
        WHERE account_id = {ACCOUNTS}
          AND period_start IN (SELECT period_start FROM cycles)""",  # noqa: S608
    "invoice_lines": f"""
        SELECT l.* FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id
        WHERE i.account_id = {ACCOUNTS}
          AND l.period_start IN (SELECT period_start FROM cycles)""",  # noqa: S608
}
"""Rows for the check of usage lines: all of each cycle that was billed in these days."""

STEPS: Final = {
    "steps": f"""
        SELECT * FROM steps WHERE account_id = {ACCOUNTS} AND ran_at >= :day""",  # noqa: S608
}
"""Rows for the check that each step has its matter."""
