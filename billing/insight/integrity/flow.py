"""Queries on matters, subscriptions and dunning, and on events in and out.

Each returns (account_id, subject) of the rows that fail its check; `:now` is real time. LATE has
the checks that fail by time, found by index over all accounts; OF_ALL those across accounts.
"""

from typing import Final

_AUDIT: Final = """
        SELECT t.account_id, t.subject
        FROM billing_audit t LEFT JOIN billing_audit p ON p.id = t.previous_id"""
_REWRITTEN: Final = """(t.digest IS DISTINCT FROM audit_digest(t, p.digest) AND t.digest IS NOT NULL
               OR t.previous_id IS NOT NULL AND p.id IS NULL)"""

_ACCOUNT: Final = "(CAST(:accounts AS uuid[]))[1]"
AUDIT_SINCE: Final = f"""
        {_AUDIT}
        WHERE t.account_id <= {_ACCOUNT} AND {_REWRITTEN}
          AND (t.account_id, t.id) > ({_ACCOUNT}, coalesce((
            SELECT o.id FROM billing_audit o
            WHERE o.account_id BETWEEN {_ACCOUNT} AND {_ACCOUNT} AND o.real_at < :day
            ORDER BY o.account_id DESC, o.id DESC LIMIT 1), 0))
    """  # noqa: S608 (names of ours)
"""Entries of one account since its opening, each with the entry before it. The index is by accounts
and ids, which grow with time: it is read backwards from the last entry to the first older one. With
an account that is equal, rather than between, the index of ids alone would do for the planner, and
entries of all accounts would be read.
"""

QUERIES: Final[dict[str, str]] = {
    "outbox_numbers": """
        SELECT b.account_id, public_id('acc', b.account_id) AS subject
        FROM credit_balances b
        LEFT JOIN dropped_events d USING (account_id)
        LEFT JOIN (
            SELECT account_id, min(seq) AS first, max(seq) AS last,
                   bool_and(seq - 1 = before OR before IS NULL OR EXISTS (
                       SELECT FROM skipped_events WHERE last_number = seq - 1)) AS whole
            FROM (SELECT account_id, seq, lag(seq) OVER numbered AS before
                  FROM events WINDOW numbered AS (PARTITION BY account_id ORDER BY seq)) n
            GROUP BY account_id) e USING (account_id)
        WHERE coalesce(e.last, d.last_number, 0) <> b.event_seq OR NOT e.whole
           OR e.first <= d.last_number
           OR e.first - 1 <> coalesce(d.last_number, 0) AND NOT EXISTS (
               SELECT FROM skipped_events WHERE last_number = e.first - 1)
    """,
    "matters_started": """
        SELECT account_id, workflow_id AS subject
        FROM matters WHERE closed_at IS NULL AND next_due IS NULL
    """,
    # Paused subscriptions, and paused or held dunning cases, have nothing to wait for.
    "matters_exist": """
        SELECT w.account_id, w.workflow_id AS subject
        FROM (
            SELECT account_id, 'subscription/' || public_id('sub', id) AS workflow_id
            FROM subscriptions
            WHERE status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid')
            UNION ALL
            SELECT account_id, 'purchase/' || public_id('pur', id)
            FROM purchases WHERE status = 'pending'
            UNION ALL
            SELECT account_id, 'trial/' || public_id('acc', account_id)
            FROM trials WHERE status = 'active' AND kind = 'account_trial'
            UNION ALL
            SELECT i.account_id, i.workflow_id
            FROM invoices i LEFT JOIN dunning_cases d ON d.invoice_id = i.id
            WHERE i.status = 'open' AND i.workflow_id LIKE 'collection/%'
              AND i.collection <> 'held' AND d.status IS DISTINCT FROM 'paused'
            UNION ALL
            SELECT account_id, workflow_id
            FROM invoices WHERE status = 'open' AND workflow_id LIKE 'charge/%'
            UNION ALL
            SELECT account_id, 'reversal/' || public_id('pay', payment_id)
            FROM refunds WHERE finished_at IS NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM credit_balances WHERE next_expiry IS NOT NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM credit_balances
            WHERE top_up_below IS NOT NULL AND NOT top_up_open AND top_up_from IS NOT NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM top_ups WHERE status = 'wanted'
            UNION ALL
            SELECT account_id, 'charge/' || public_id('bill', id)
            FROM billing_records
            WHERE billing_method = 'payment_charge' AND billing_status = 'pending'
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM usage_periods WHERE late_at IS NOT NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM usage_settlements
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM unpaid_retries
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM unpaid_uses WHERE told_at IS NULL OR charge_at IS NOT NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM limit_overrides WHERE due_at IS NOT NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM payment_methods WHERE status = 'removing'
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM setup_intents WHERE finished_at IS NULL
            UNION ALL
            SELECT account_id, 'account/' || public_id('acc', account_id)
            FROM portal_sessions WHERE finished_at IS NULL
        ) AS w
        LEFT JOIN matters m ON m.workflow_id = w.workflow_id AND m.closed_at IS NULL
        WHERE m.workflow_id IS NULL
        GROUP BY w.account_id, w.workflow_id
    """,
    "matters_have_rows": """
        SELECT m.account_id, m.workflow_id AS subject
        FROM matters m
        LEFT JOIN subscriptions s ON s.id = m.subject_id
        LEFT JOIN purchases p ON p.id = m.subject_id
        LEFT JOIN invoices i ON i.id = m.subject_id
        LEFT JOIN payments y ON y.id = m.subject_id
        WHERE m.closed_at IS NULL AND CASE m.kind
            WHEN 'subscription' THEN s.id IS NULL WHEN 'purchase' THEN p.id IS NULL
            WHEN 'collection' THEN i.id IS NULL WHEN 'reversal' THEN y.id IS NULL
            ELSE false END
    """,
    "sales_stand": """
        SELECT i.account_id, public_id('inv', i.id) AS subject
        FROM invoices i LEFT JOIN subscriptions s ON s.id = i.subscription_id
        WHERE i.subscription_id IS NOT NULL AND s.id IS NULL
    """,
    # An operator may replay an event: to check it again is not a standstill.
    "steps_move_on": """
        SELECT m.account_id, m.workflow_id AS subject
        FROM matters m JOIN steps s ON s.key = m.next_key
        WHERE m.closed_at IS NULL AND m.next_step <> 'check'
    """,
    "steps_belong": """
        SELECT s.account_id, s.key AS subject
        FROM steps s
        LEFT JOIN matters m ON m.workflow_id = s.workflow_id AND m.account_id = s.account_id
        WHERE m.workflow_id IS NULL
    """,
    "one_open_subscription": """
        SELECT account_id, public_id('acc', account_id) AS subject
        FROM subscriptions
        WHERE status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')
        GROUP BY account_id HAVING count(*) > 1
    """,
    # The previous release may have noted the cancel of a first payment; it is carried out next.
    "cancels_stand": """
        SELECT account_id, public_id('sub', id) AS subject
        FROM subscriptions
        WHERE ended_at IS NULL
          AND (canceled_at IS NOT NULL) <> (cancel_at_period_end OR cancel_at IS NOT NULL)
          AND NOT (status = 'incomplete' AND superseded_at IS NOT NULL)
    """,
    "ends_noted": """
        SELECT account_id, public_id('sub', id) AS subject
        FROM subscriptions
        WHERE (status IN ('canceled', 'incomplete_expired')) <> (ended_at IS NOT NULL)
    """,
    # The previous release neither notes nor clears `unpaid_at`, and notes no reason of its pauses,
    # all of which come after a trial.
    "states_dated": """
        SELECT account_id, public_id('sub', id) AS subject
        FROM subscriptions
        WHERE status = 'trialing' AND trial_end IS DISTINCT FROM current_period_end
           OR status <> 'paused' AND pause_reason IS NOT NULL AND ended_at IS NULL
           OR status = 'paused' AND pause_reason IS NULL AND trial_end IS NULL
           OR cycle_start >= cycle_end OR cycle_end > current_period_end
    """,
    # The end of its period is one of its steps, so its first step is due by then.
    "periods_end_in_time": """
        SELECT s.account_id, m.workflow_id AS subject
        FROM subscriptions s
        JOIN matters m ON m.workflow_id = 'subscription/' || public_id('sub', s.id)
        WHERE s.status IN ('trialing', 'active', 'past_due') AND m.closed_at IS NULL
          AND m.next_due > s.current_period_end
    """,
    # Prices never change, so a subscription and its item must agree with theirs.
    "subscriptions_priced": """
        SELECT s.account_id, public_id('sub', s.id) AS subject
        FROM subscriptions s
        LEFT JOIN subscription_items i
               ON i.subscription_id = s.id AND i.account_id = s.account_id AND i.kind = 'plan'
        LEFT JOIN prices p ON p.id = s.price_id
        LEFT JOIN plans n ON n.id = s.plan_id
        WHERE (i.price_id, i.amount_minor, i.amount_minor * i.quantity, s.currency, s.plan_key,
               n.key, s.interval_unit, s.interval_count)
              IS DISTINCT FROM (p.id, p.amount_minor, s.amount_minor, p.currency, p.key, p.key,
                                p.interval_unit, p.interval_count)
    """,
    "periods_contiguous": """
        WITH billed AS (
            SELECT account_id, id, subscription_id, period_start,
                   lag(period_end) OVER mine AS before, lag(period_start) OVER mine AS began
            FROM invoices
            WHERE subscription_id IS NOT NULL AND period_start IS NOT NULL
              AND (status <> 'void' OR number IS NOT NULL)
            WINDOW mine AS (PARTITION BY subscription_id ORDER BY period_start, created_at, id)
        )
        SELECT b.account_id, public_id('inv', b.id) AS subject
        FROM billed b
        WHERE b.before <> b.period_start
          AND NOT EXISTS (SELECT 1 FROM billing_audit t
                          WHERE t.subject = public_id('sub', b.subscription_id)
                            AND t.action = 'subscription.restarted' AND t.at = b.period_start)
          AND NOT EXISTS (SELECT 1 FROM subscription_changes c
                          WHERE c.invoice_id = b.id AND c.kind IN ('plan', 'resume')
                             OR c.subscription_id = b.subscription_id AND c.kind = 'extend'
                                AND c.created_at >= b.began AND c.effective_at = b.period_start)
    """,
    "periods_billed": """
        SELECT s.account_id, public_id('sub', s.id) AS subject
        FROM subscriptions s
        WHERE s.status IN ('incomplete', 'active', 'past_due', 'unpaid')
          AND NOT EXISTS (SELECT 1 FROM invoices i
                          WHERE i.subscription_id = s.id
                            AND i.period_start = s.current_period_start
                            AND (i.period_end = s.current_period_end OR EXISTS (
                                SELECT 1 FROM subscription_changes c
                                WHERE c.subscription_id = s.id AND c.kind = 'extend'
                                  AND c.effective_at = s.current_period_end)))
    """,
    "audit_chain": f"""
        {_AUDIT}
        WHERE t.account_id IS NOT NULL AND {_REWRITTEN}
    """,
    "debts_pursued": """
        SELECT s.account_id, public_id('sub', s.id) AS subject
        FROM subscriptions s
        WHERE s.status IN ('active', 'past_due', 'unpaid')
          AND (s.status <> 'active') <> EXISTS (
              SELECT 1 FROM invoices i JOIN dunning_cases d ON d.invoice_id = i.id
              WHERE i.subscription_id = s.id AND i.status = 'open'
                AND i.workflow_id = 'subscription/' || public_id('sub', s.id)
                AND d.status IN ('open', 'paused', 'exhausted'))
          -- A debt that was given up while it is unpaid serves nothing.
          AND NOT (s.status = 'unpaid' AND EXISTS (
              SELECT 1 FROM invoices i JOIN dunning_cases d ON d.invoice_id = i.id
              WHERE i.subscription_id = s.id AND i.status = 'uncollectible'
                AND d.closed_at >= s.unpaid_at))
    """,
    # A case that is handed over to a collection has all slots behind it, and a new day 0.
    "slots_tried": """
        SELECT d.account_id, public_id('dun', d.id) AS subject
        FROM dunning_cases d
        WHERE d.last_slot > 0 AND d.day_zero_at <= d.opened_at
          AND NOT EXISTS (SELECT FROM payment_attempts x
                          WHERE x.invoice_id = d.invoice_id AND x.slot = d.last_slot)
    """,
    "cases_match_invoices": """
        SELECT d.account_id, public_id('dun', d.id) AS subject
        FROM dunning_cases d JOIN invoices i ON i.id = d.invoice_id
        WHERE (d.status IN ('open', 'paused') AND i.status <> 'open')
           OR (d.status IN ('recovered', 'forgiven', 'canceled') AND i.status = 'open')
           OR (d.status IN ('open', 'paused')) <> (d.closed_at IS NULL)
    """,
}

LATE: Final[dict[str, str]] = {
    "purchases_end_in_time": """
        SELECT p.account_id, public_id('pur', p.id) AS subject
        FROM purchases p
        JOIN accounts a ON a.id = p.account_id
        LEFT JOIN matters m ON m.workflow_id = 'purchase/' || public_id('pur', p.id)
        WHERE p.status = 'pending' AND p.expires_at < coalesce(a.clock_at, :now) - :slack
          AND m.status IS DISTINCT FROM 'halted'
          AND NOT EXISTS (SELECT 1 FROM payments y
                          WHERE y.invoice_id = p.invoice_id
                            AND y.status IN ('processing', 'pending_approval'))
    """,
    "inbox_handled": """
        SELECT e.account_id, e.stripe_event_id AS subject
        FROM stripe_webhook_events e
        LEFT JOIN matters m ON m.workflow_id = e.workflow_id
        WHERE (e.status = 'received' AND e.received_at < :now - :slack
               AND m.status IS DISTINCT FROM 'halted')
           OR (e.status = 'unmatched' AND e.received_at < :now - :parked_after)
    """,
    "matters_started": """
        SELECT account_id, workflow_id AS subject
        FROM matters
        WHERE closed_at IS NULL AND status = 'open' AND started_at IS NULL
          AND woken_at < :now - :slack
        UNION ALL
        SELECT m.account_id, m.workflow_id
        FROM matters m JOIN accounts a ON a.id = m.account_id
        WHERE m.closed_at IS NULL AND m.status = 'resting' AND a.clock_at IS NULL
          AND m.next_due < :now - :slack
    """,
}

OF_ALL: Final[dict[str, str]] = {
    "audit_chain": f"""
        {_AUDIT}
        WHERE t.account_id IS NULL AND {_REWRITTEN}
    """,
}
