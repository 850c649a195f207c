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
