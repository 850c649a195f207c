"""Queries on usage: each returns (account_id, subject) of the rows that fail its check.

Sums of records include those of archived months, whose sums are sealed. LATE has the checks that
fail by time, found by index over all accounts. `:now` is real time; an account with its own clock
is checked by that clock.
"""

from typing import Final

from billing.core.money import EXPONENTS

_CASES: Final = " ".join(f"WHEN '{name}' THEN {digits}" for name, digits in EXPONENTS.items())
DIGITS: Final = f"CASE i.currency {_CASES} ELSE 2 END"
"""Digits after the point of an invoice's currency."""
_OF_CYCLE: Final = """
        SELECT account_id, public_id('acc', account_id) || ': ' || meter
            || ' of ' || to_char(period_start, 'YYYY-MM-DD') AS subject
        FROM ("""
_CHARGED: Final = """
            SELECT account_id, meter, period_start, sum(units) AS units, sum(total) AS total
            FROM (
                SELECT account_id, meter, period_start, charged_units AS units,
                    total_amount AS total
                FROM billing_records
                WHERE currency <> 'CREDIT' AND billing_method = 'subscription_included'"""
"""Sums that plans charge of uses on record: the queries add which uses, and the archived months."""

QUERIES: Final[dict[str, str]] = {
    "usage_counted": """
        SELECT account_id, public_id('acc', account_id) || ': ' || meter
            || ' on ' || to_char(day_at, 'YYYY-MM-DD') AS subject
        FROM (
            SELECT account_id, meter, day_at, sum(events) AS events, sum(quantity) AS quantity,
                sum(total) AS total, max(maximum) AS maximum
            FROM (
                SELECT account_id, meter, day_at, count(*) AS events,
                    sum(included_units + charged_units) AS quantity, sum(total_amount) AS total,
                    max(usage_amount) AS maximum
                FROM billing_records WHERE kind = 'usage' GROUP BY account_id, meter, day_at
                UNION ALL
                SELECT account_id, meter, bucket, events, quantity, credits + overage_total, maximum
                FROM sealed_counters WHERE owner = '' AND grain = 'day') a
            GROUP BY account_id, meter, day_at) r
        FULL JOIN (
            SELECT account_id, meter, bucket AS day_at, sum(events) AS events,
                sum(quantity) AS quantity, sum(credits + overage_total) AS total,
                max(maximum) AS maximum
            FROM usage_counters WHERE owner = '' AND grain = 'day'
            GROUP BY account_id, meter, bucket) c
        USING (account_id, meter, day_at)
        WHERE (r.events, r.quantity, r.total, r.maximum)
              IS DISTINCT FROM (c.events, c.quantity, c.total, c.maximum)
    """,
    # A use whose card payment is being retried stays unpaid until it is paid.
    "unpaid_uses_known": """
        SELECT coalesce(r.account_id, u.account_id) AS account_id,
            public_id('bill', coalesce(r.id, u.record_id)) AS subject
        FROM (
            SELECT id, account_id FROM billing_records
            WHERE billing_status = 'failed' OR billing_status = 'pending' AND currency = 'CREDIT'
        ) r
        FULL JOIN (
            SELECT u.record_id, u.account_id
            FROM unpaid_uses u LEFT JOIN billing_records c
                ON c.id = u.record_id AND c.account_id = u.account_id
                AND c.billing_status = 'pending' AND c.billing_method = 'payment_charge'
                AND c.currency <> 'CREDIT'
            WHERE c.id IS NULL) u
        ON u.record_id = r.id AND u.account_id = r.account_id
        WHERE r.id IS NULL OR u.record_id IS NULL
    """,
    "usage_cycles": """
        SELECT account_id, public_id('acc', account_id) || ': ' || meter
            || ' from ' || to_char(start_at, 'YYYY-MM-DD') AS subject
        FROM (
            SELECT account_id, owner, meter, start_at, sum(events) AS events,
                sum(quantity) AS quantity, sum(total) AS total
            FROM (
                SELECT account_id, owner, meter, period_start AS start_at, count(*) AS events,
                    sum(included_units + charged_units) AS quantity,
                    sum(CASE WHEN billing_method = 'payment_charge' AND currency <> 'CREDIT'
                        AND owner = '' THEN 0 ELSE total_amount END) AS total
                FROM billing_records
                CROSS JOIN LATERAL (VALUES (''), ('u:' || user_id), ('o:' || organization_id))
                    AS o(owner)
                WHERE kind = 'usage' AND owner IS NOT NULL
                GROUP BY account_id, owner, meter, period_start
                UNION ALL
                SELECT account_id, owner, meter, period_start, events, quantity,
                    credits + CASE WHEN split_part(facet, '|', 2) = 'payment_charge' THEN 0
                        ELSE overage_total END
                FROM sealed_counters
                WHERE grain = 'day' AND (owner = '' OR owner LIKE 'u:%' OR owner LIKE 'o:%')) a
            GROUP BY account_id, owner, meter, start_at) r
        FULL JOIN (
            SELECT account_id, owner, meter, period_start AS start_at, events, quantity,
                credits + overage_total AS total
            FROM usage_cycles
            WHERE owner = '' OR owner LIKE 'u:%' OR owner LIKE 'o:%') c
        USING (account_id, owner, meter, start_at)
        -- A counter of nothing is none: a status that moves on leaves one behind.
        WHERE (coalesce(r.events, 0), coalesce(r.quantity, 0), coalesce(r.total, 0))
            <> (coalesce(c.events, 0), coalesce(c.quantity, 0), coalesce(c.total, 0))
    """,
    # A free plan counts by the calendar month, and a pause cuts a cycle.
    "cycles_dated": """
        SELECT DISTINCT c.account_id,
            public_id('acc', c.account_id) || ' from ' || to_char(c.period_start, 'YYYY-MM-DD')
            AS subject
        FROM usage_counters c
        LEFT JOIN usage_periods p ON p.account_id = c.account_id AND p.start_at = c.period_start
        WHERE c.owner = '' AND c.grain = 'day' AND p.id IS NULL
        UNION ALL
        SELECT s.account_id, public_id('sub', s.id)
        FROM subscriptions s
        JOIN credit_balances b ON b.account_id = s.account_id
        JOIN usage_periods p ON p.id = b.period_id AND p.subscription_id = s.id
            AND p.start_at = s.cycle_start
        WHERE s.status IN ('trialing', 'active', 'past_due') AND s.amount_minor > 0
          AND p.end_at <> s.cycle_end
    """,
    # Only current fixed windows: a past one restarts with the next use, and slices of a rolling
    # window have no records behind them.
    "quotas_counted": """
        SELECT q.account_id, public_id('qta', q.id) AS subject
        FROM billing_quotas q
        JOIN accounts a ON a.id = q.account_id
        JOIN credit_balances b ON b.account_id = q.account_id
        JOIN usage_periods p ON p.account_id = q.account_id AND p.id = b.period_id
        LEFT JOIN (
            SELECT k.id, sum(c.amount) AS amount
            FROM billing_quotas k
            JOIN (
                SELECT account_id, meter, owner, claimed_at, amount
                FROM quota_claims
                CROSS JOIN LATERAL (VALUES (''), ('u:' || user_id), ('o:' || organization_id))
                    AS o(owner)
                WHERE status = 'open' AND owner IS NOT NULL) c
            ON c.account_id = k.account_id AND c.meter = k.meter AND c.owner = k.owner
                AND c.claimed_at >= k.window_start
            GROUP BY k.id) c ON c.id = q.id
        WHERE q.span_seconds IS NULL AND q.owner <> 'u*'
          AND q.window_start = quota_window(
              q.window_kind, NULL, p.zone, p.start_at, coalesce(a.clock_at, :now))
          AND q.used <> least(999999999999999, greatest(0,
              quota_recorded(CAST(q AS billing_quotas), p.zone, q.window_start)
              + coalesce(c.amount, 0)))
    """,
    "budgets_known": """
        SELECT b.account_id,
            public_id('acc', b.account_id) || ': ' || coalesce(b.budget_mode, 'no budget')
            AS subject
        FROM credit_balances b
        LEFT JOIN (
            SELECT account_id, CASE WHEN bool_or(is_blocking) THEN 'block' ELSE 'notify' END AS mode
            FROM budgets GROUP BY account_id) k USING (account_id)
        WHERE b.budget_mode IS DISTINCT FROM k.mode
    """,
    # For archived months, a row without an entry's id has the number and sum of the entries that
    # paid nothing else; entries without a record here must amount to it.
    "usage_paid": """
        SELECT account_id, coalesce(public_id('ctx', entry),
                public_id('acc', account_id) || ': uses of months that are away') AS subject
        FROM (
            SELECT account_id, t.spent, r.logged, r.entries,
                CASE WHEN r.logs IS NULL AND account_id IN (SELECT account_id FROM sealed_entries)
                    THEN NULL ELSE transaction_id END AS entry
            FROM (
                SELECT account_id, id AS transaction_id, debt - amount AS spent
                FROM credit_transactions WHERE kind IN ('debit', 'capture', 'void')) t
            FULL JOIN (
                SELECT account_id, transaction_id, sum(credits) AS logged, count(*) AS logs,
                    bool_or(is_capture) AS is_capture, sum(entries) AS entries
                FROM (
                    SELECT account_id, transaction_id, total_amount AS credits,
                        false AS is_capture, 0 AS entries
                    FROM billing_records WHERE transaction_id IS NOT NULL
                    UNION ALL
                    SELECT account_id, transaction_id, credits, true, 0 FROM capture_logs
                    UNION ALL
                    SELECT account_id, transaction_id, credits, false, entries
                    FROM sealed_entries) l
                GROUP BY account_id, transaction_id) r
            USING (account_id, transaction_id)
            WHERE t.spent IS DISTINCT FROM r.logged OR (r.is_capture AND r.logs > 1)) x
        GROUP BY account_id, entry
        HAVING entry IS NOT NULL OR coalesce(sum(spent), 0) <> coalesce(sum(logged), 0)
            OR count(spent) <> coalesce(sum(entries), 0)
    """,
    # Records and lines agree to the cent; a record that no line covers yet is pending. If a line
    # covers very many records, each stays pending until its part is completed.
    "usage_billed": f"""{_OF_CYCLE}{_CHARGED}
                  AND (billing_status IN ('completed', 'refunded')
                       OR id IN (SELECT unnest(records) FROM usage_settlements))
                UNION ALL
                SELECT account_id, meter, period_start, units, total FROM sealed_lines) a
            GROUP BY account_id, meter, period_start) r
        FULL JOIN (
            SELECT l.account_id, l.detail ->> 'meter' AS meter, l.period_start,
                sum(l.quantity) AS units,
                sum(l.amount_minor / power(10::numeric, {DIGITS})) AS total
            FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
            WHERE l.kind = 'usage' GROUP BY 1, 2, 3) l
        USING (account_id, meter, period_start)
        WHERE coalesce(r.units, 0) <> coalesce(l.units, 0)
           OR coalesce(r.total, 0) <> coalesce(l.total, 0)
    """,  # noqa: S608 (constants)
    # Recomputed from the price on the line. Early lines bill no more than the final volume price
    # amounts to; if a late line makes the usage cheaper, nothing is refunded.
    "usage_priced": f"""{_OF_CYCLE}
            SELECT l.account_id, l.period_start, l.detail ->> 'meter' AS meter, p.model,
                (l.detail ->> 'early')::boolean AS early, (l.detail ->> 'late')::boolean AS late,
                (l.detail ->> 'billed_minor')::numeric + l.amount_minor AS billed, c.cost,
                round(c.cost * power(10::numeric, {DIGITS})) AS due,
                (SELECT sum((tier ->> 'amount')::numeric)
                 FROM jsonb_array_elements(l.detail -> 'tiers') AS t(tier)) AS shown
            FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
            CROSS JOIN LATERAL usage_price_of(l.detail -> 'price') AS p
            CROSS JOIN LATERAL (SELECT usage_cost(
                p.model, p.unit_price, p.package_size, p.free_units, p.tiers,
                (l.detail ->> 'billed_units')::numeric + l.quantity) AS cost) AS c
            WHERE l.kind = 'usage' AND l.detail ? 'price') x
        WHERE coalesce(abs(shown - cost), 1) > 0.000000001
           OR billed < due AND NOT (early AND model = 'volume')
           OR billed > due AND NOT (late AND model = 'volume')
    """,  # noqa: S608 (constants)
    "usage_counted_beyond": f"""{_OF_CYCLE}{_CHARGED}
                  AND kind = 'usage'
                UNION ALL
                SELECT account_id, meter, period_start, overage, overage_total
                FROM sealed_counters
                WHERE owner = '' AND grain = 'day'
                  AND split_part(facet, '|', 2) = 'subscription_included') a
            GROUP BY account_id, meter, period_start) r
        FULL JOIN (
            SELECT account_id, meter, period_start, overage AS units, overage_total AS total
            FROM usage_cycles
            WHERE owner = '' AND overage <> 0) c
        USING (account_id, meter, period_start)
        -- Where all was taken back there is nothing: no sum, or one of zero.
        WHERE coalesce(r.units, 0) <> coalesce(c.units, 0)
           OR coalesce(r.total, 0) <> coalesce(c.total, 0)
    """,  # noqa: S608 (constants)
    # A late use waits for the next invoice, as does a use from before a late payment of a debt: its
    # draft was voided. Any other use belongs on the invoice at the end of its own cycle.
    "usage_invoiced": """
        SELECT r.account_id, public_id('bill', r.id) AS subject
        FROM billing_records r
        JOIN usage_periods p ON p.account_id = r.account_id AND p.start_at = r.period_start
        JOIN subscriptions s ON s.id = p.subscription_id
        WHERE r.currency <> 'CREDIT' AND r.billing_method = 'subscription_included'
          AND r.billing_status = 'pending' AND NOT r.is_late
          AND (s.status = 'canceled'
               OR s.status IN ('active', 'past_due') AND p.start_at < s.cycle_start
                   AND NOT (s.period_number = 0 AND EXISTS (
                       SELECT FROM subscription_changes c
                       WHERE c.subscription_id = s.id AND c.kind = 'resume'
                         AND c.status = 'applied' AND c.decided_at >= p.end_at)))
          AND r.id NOT IN (SELECT unnest(records) FROM usage_settlements)
    """,
}

LATE: Final[dict[str, str]] = {
    "thresholds_billed": """
        SELECT p.account_id, public_id('sub', s.id) AS subject
        FROM usage_periods p
        JOIN subscriptions s ON s.id = p.subscription_id
        JOIN accounts a ON a.id = p.account_id
        WHERE p.threshold_at < coalesce(a.clock_at, :now) - :slack AND p.closed_at IS NULL
          AND s.status IN ('active', 'past_due')
    """,
}
