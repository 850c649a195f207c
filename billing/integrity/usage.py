"""Queries on usage: each answers (account_id, subject) of what breaks its check."""

from typing import Final

QUERIES: Final[dict[str, str]] = {
    "usage_counted": """
        SELECT account_id, meter || ' on ' || to_char(day_at, 'YYYY-MM-DD') AS subject
        FROM (
            SELECT account_id, meter, day_at, count(*) AS events,
                sum(included_amount + charged_amount) AS quantity,
                sum(total_amount) AS total
            FROM billing_records WHERE kind = 'usage' GROUP BY account_id, meter, day_at) r
        FULL JOIN (
            SELECT account_id, meter, bucket AS day_at, sum(events) AS events,
                sum(quantity) AS quantity, sum(credits + overage_total) AS total
            FROM usage_counters WHERE owner = '' AND grain = 'day'
            GROUP BY account_id, meter, bucket) c
        USING (account_id, meter, day_at)
        WHERE (r.events, r.quantity, r.total) IS DISTINCT FROM (c.events, c.quantity, c.total)
    """,
    "usage_cycles": """
        SELECT account_id, meter || ' from ' || to_char(start_at, 'YYYY-MM-DD') AS subject
        FROM (
            SELECT account_id, owner, meter, period_start AS start_at, count(*) AS events,
                sum(included_amount + charged_amount) AS quantity, sum(total_amount) AS total
            FROM billing_records
            CROSS JOIN LATERAL (VALUES (''), ('u:' || user_id), ('o:' || organization_id))
                AS o(owner)
            WHERE kind = 'usage' AND owner IS NOT NULL
            GROUP BY account_id, owner, meter, period_start) r
        FULL JOIN (
            SELECT account_id, owner, meter, bucket AS start_at, events, quantity,
                credits + overage_total AS total
            FROM usage_counters
            WHERE grain = 'cycle' AND (owner = '' OR owner LIKE 'u:%' OR owner LIKE 'o:%')) c
        USING (account_id, owner, meter, start_at)
        WHERE (r.events, r.quantity, r.total) IS DISTINCT FROM (c.events, c.quantity, c.total)
    """,
    "budgets_known": """
        SELECT b.account_id, coalesce(b.budget_mode, 'no budget') AS subject
        FROM credit_balances b
        LEFT JOIN (
            SELECT account_id, CASE WHEN bool_or(is_blocking) THEN 'block' ELSE 'notify' END AS mode
            FROM budgets GROUP BY account_id) k USING (account_id)
        WHERE b.budget_mode IS DISTINCT FROM k.mode
    """,
    "usage_paid": """
        SELECT r.account_id, public_id('ctx', r.transaction_id) AS subject
        FROM (
            SELECT account_id, transaction_id, sum(total_amount) AS total
            FROM billing_records WHERE transaction_id IS NOT NULL
            GROUP BY account_id, transaction_id) r
        LEFT JOIN credit_transactions t
               ON t.id = r.transaction_id AND t.account_id = r.account_id
        WHERE t.amount IS DISTINCT FROM -r.total
    """,
}
