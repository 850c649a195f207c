"""Queries on grants and holds: each returns (account_id, subject) of the rows that fail its check.

The rules of billing.ledger.credits.invariants check the sums of the ledger itself.
"""

from typing import Final

from billing.money.subscriptions.periods.period_paid import PERIOD_WENT_BACK, paid_invoices

_PERIOD_PAID: Final = paid_invoices("s.id", "s.current_period_start")


def _free_grant(cycle_start: str) -> str:
    """Return the condition that a lot `l` is of a plan without a price of the subscription `s`, and
    counts for a cycle of its plan `p`: such plans grant once per month, whichever plan, change or
    subscription it is.
    """
    return f"""(
        l.kind = 'plan'
        AND l.created_at > {cycle_start} - (p.allowance_count || ' ' || p.allowance_unit)::interval
        AND (starts_with(l.grant_key, public_id('acc', s.account_id) || '/') OR EXISTS (
            SELECT 1 FROM subscription_changes g
            WHERE g.account_id = s.account_id AND g.kind = 'plan'
              AND (g.terms ->> 'unit_minor')::bigint = 0
              AND starts_with(l.grant_key, public_id('chg', g.id) || '/'))))"""  # noqa: S608


def _cycle_key(start: str) -> str:
    """Return a join that writes the key of the credits of a cycle of the subscription `s` once, not
    again for each lot that is compared with it.
    """
    return f"""
        CROSS JOIN LATERAL (
            SELECT public_id('sub', s.id) || '/cycle-'
                || to_char({start} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS key
            OFFSET 0) k"""


QUERIES: Final[dict[str, str]] = {
    # What is below zero is less than what is held of it, or that is below zero.
    "credits_never_negative": """
        SELECT account_id, public_id('acc', account_id) AS subject
        FROM credit_balances WHERE held < 0 OR held > balance OR debt < 0
        UNION
        SELECT account_id, public_id('acc', account_id)
        FROM credit_lots WHERE held < 0 OR held > remaining
    """,
    "holds_of_lots": """
        SELECT l.account_id, public_id('lot', l.id) AS subject
        FROM credit_lots l
        LEFT JOIN (SELECT p.lot_id, sum(p.amount) AS held
                   FROM credit_holds h JOIN credit_hold_lots p ON p.hold_id = h.id
                   WHERE h.status = 'open' GROUP BY p.lot_id) s ON s.lot_id = l.id
        WHERE l.held <> coalesce(s.held, 0)
    """,
    "lots_of_their_kind": """
        SELECT account_id, public_id('lot', id) AS subject
        FROM credit_lots
        WHERE is_paid AND kind IN ('trial', 'plan', 'refund')
           OR kind = 'purchase' AND expires_at IS NOT NULL
    """,
    "ends_awaited": """
        SELECT DISTINCT b.account_id, public_id('acc', b.account_id) AS subject
        FROM credit_balances b
        JOIN accounts a ON a.id = b.account_id
        JOIN (SELECT account_id, expires_at FROM credit_lots WHERE is_open
              UNION ALL
              SELECT account_id, expires_at FROM credit_holds WHERE status = 'open') e
          ON e.account_id = b.account_id
        -- What has ended already is expired before anything is spent.
        WHERE e.expires_at > coalesce(a.clock_at, :now)
          AND e.expires_at < coalesce(b.next_expiry, 'infinity')
    """,
    "purchases_granted_once": """
        SELECT p.account_id, public_id('pur', p.id) AS subject
        FROM purchases p
        LEFT JOIN (SELECT t.account_id, t.subject, count(*) AS grants, sum(t.amount) AS credits
                   FROM credit_lots l JOIN credit_transactions t ON t.key = l.grant_key
                   WHERE l.kind = 'purchase' GROUP BY t.account_id, t.subject) g
               ON g.account_id = p.account_id AND g.subject = public_id('pur', p.id)
        WHERE coalesce(g.grants, 0)
                  <> CASE WHEN p.status IN ('completed', 'refunded') THEN 1 ELSE 0 END
           OR g.credits <> p.credits
    """,
    "grants_paid_once": """
        -- Each is read once, not for every lot: an account may have bought thousands of packs.
        WITH bought AS MATERIALIZED (
            SELECT account_id, id, amount_minor, public_id('pur', id) || '/grant' AS grant_key
            FROM purchases
        ), received AS MATERIALIZED (
            SELECT i.purchase_id, sum(y.received_minor) AS received_minor
            FROM invoices i JOIN payments y ON y.invoice_id = i.id
            WHERE i.purchase_id IS NOT NULL AND y.settled_at IS NOT NULL
            GROUP BY i.purchase_id
        ), kept AS MATERIALIZED (
            -- The money balance paid, or what it lacks is carried to the next invoice.
            SELECT purchase_id, sum(balance_applied_minor + coalesce((
                       SELECT -sum(e.amount_minor) FROM balance_entries e
                       WHERE e.account_id = i.account_id AND e.invoice_id = i.id
                         AND e.kind = 'carried'), 0)) AS kept_minor,
                   sum(discount_minor) AS discount_minor
            FROM invoices i
            WHERE purchase_id IS NOT NULL AND status = 'paid'
            GROUP BY purchase_id
        )
        SELECT l.account_id, public_id('lot', l.id) AS subject
        FROM credit_lots l
        LEFT JOIN bought p ON p.account_id = l.account_id AND p.grant_key = l.grant_key
        LEFT JOIN received m ON m.purchase_id = p.id
        LEFT JOIN kept b ON b.purchase_id = p.id
        WHERE l.kind = 'purchase' AND l.grant_key LIKE 'pur\\_%'
          AND (p.id IS NULL OR p.amount_minor - coalesce(b.discount_minor, 0)
               > coalesce(m.received_minor, 0) + coalesce(b.kept_minor, 0))
    """,
    "trials_granted_once": """
        SELECT t.account_id, public_id('trl', t.id) AS subject
        FROM trials t
        LEFT JOIN credit_lots l
               ON l.account_id = t.account_id AND l.kind = 'trial'
              AND l.grant_key = public_id('acc', t.account_id) || '/trial'
        WHERE t.kind = 'account_trial'
          AND (l.amount, l.expires_at) IS DISTINCT FROM (t.credits, t.expires_at)
        UNION ALL
        SELECT l.account_id, public_id('lot', l.id)
        FROM credit_lots l
        WHERE l.grant_key LIKE 'acc\\_%/trial'
          AND NOT EXISTS (SELECT 1 FROM trials t
                          WHERE t.account_id = l.account_id AND t.kind = 'account_trial')
    """,
    "top_ups_undecided": """
        SELECT b.account_id, public_id('acc', b.account_id) AS subject
        FROM credit_balances b
        LEFT JOIN top_ups t ON t.account_id = b.account_id AND t.decided_at IS NULL
        WHERE b.top_up_open <> (t.id IS NOT NULL)
    """,
    "top_ups_bought": """
        SELECT t.account_id, public_id('top', t.id) AS subject
        FROM top_ups t LEFT JOIN purchases p ON p.id = t.purchase_id AND p.top_up_id = t.id
        WHERE CASE t.status
            WHEN 'buying' THEN p.status IS DISTINCT FROM 'pending'
            WHEN 'completed' THEN coalesce(p.status NOT IN ('completed', 'refunded'), true)
            WHEN 'failed' THEN p.status NOT IN ('failed', 'expired', 'canceled')
            ELSE p.id IS NOT NULL
        END
        UNION ALL
        SELECT p.account_id, public_id('pur', p.id)
        FROM purchases p LEFT JOIN top_ups t ON t.id = p.top_up_id AND t.purchase_id = p.id
        WHERE p.top_up_id IS NOT NULL AND t.id IS NULL
    """,
    "cycles_granted_once": f"""
        SELECT i.account_id, public_id('inv', i.id) AS subject
        FROM invoices i
        JOIN subscriptions s ON s.id = i.subscription_id
        JOIN plans p ON p.id = s.plan_id
        -- The line of the plan says what was sold; the subscription may have another plan since.
        LEFT JOIN LATERAL (
            SELECT (l.detail ->> 'credits')::numeric AS credits, l.unit_amount
            FROM invoice_lines l
            WHERE l.invoice_id = i.id AND l.kind = 'plan' ORDER BY credits DESC LIMIT 1) n ON true
        {_cycle_key("i.cycle_start")}
        WHERE i.status = 'paid' AND i.settlement NOT IN ('credited', 'forgiven')
          -- A change of plan grants its own.
          AND coalesce(n.credits, p.monthly_credits) > 0
          AND NOT EXISTS (SELECT 1 FROM subscription_changes c
                          WHERE c.invoice_id = i.id AND c.kind = 'plan')
          AND i.cycle_start IS NOT NULL AND i.paid_at < i.cycle_end
          AND i.workflow_id NOT LIKE 'collection/%'
          AND (s.ended_at IS NULL OR i.paid_at < s.ended_at)
          -- A pause grants nothing.
          AND NOT EXISTS (SELECT 1 FROM billing_audit t
                          WHERE t.subject = public_id('sub', s.id)
                            AND t.action = 'subscription.paused'
                            AND t.at BETWEEN i.cycle_start AND i.paid_at)
          AND NOT EXISTS (
              SELECT 1 FROM credit_lots l
              WHERE l.account_id = i.account_id
                AND (l.grant_key = k.key
                OR coalesce(n.unit_amount, s.amount_minor) = 0 AND l.created_at <= i.paid_at
                    AND {_free_grant("i.cycle_start")}))
        UNION ALL
        -- The later cycles of a longer period wait for its invoice; those that have ended are past.
        SELECT l.account_id, public_id('lot', l.id)
        FROM credit_lots l
        JOIN accounts a ON a.id = l.account_id
        JOIN subscriptions s ON s.account_id = l.account_id
            AND split_part(l.grant_key, '/cycle-', 1) = public_id('sub', s.id)
        CROSS JOIN LATERAL (
            -- Postgres may read it of any lot, before it knows whose it is.
            SELECT nullif(left(split_part(l.grant_key, '/cycle-', 2), 20), '')::timestamptz
                AS start) c
        JOIN LATERAL (
            SELECT i.status, i.cycle_end FROM invoices i
            WHERE i.subscription_id = s.id AND i.cycle_end IS NOT NULL AND i.status <> 'void'
              AND date_trunc('second', i.period_start) <= c.start
            ORDER BY i.period_start DESC LIMIT 1) i ON true
        WHERE l.kind = 'plan' AND l.expires_at > coalesce(a.clock_at, :now)
          -- What lives on from one cycle into the next has come with the first.
          AND l.cycle_end IS NULL AND c.start >= date_trunc('second', i.cycle_end)
          AND i.status <> 'paid'
        UNION ALL
        SELECT i.account_id, public_id('inv', i.id)
        FROM subscriptions s
        JOIN accounts a ON a.id = s.account_id
        JOIN plans p ON p.id = s.plan_id
        JOIN invoices i ON i.subscription_id = s.id AND i.period_start = s.current_period_start
            AND i.cycle_end IS NOT NULL
        {_cycle_key("s.cycle_start")}
        WHERE s.status = 'active' AND s.cycle_start > s.current_period_start
          AND p.monthly_credits > 0 AND i.status = 'paid' AND i.paid_at < s.cycle_end
          AND NOT (SELECT {PERIOD_WENT_BACK} {_PERIOD_PAID})
          AND s.cycle_end > coalesce(a.clock_at, :now)
          AND NOT EXISTS (SELECT 1 FROM subscription_changes c
                          WHERE c.subscription_id = s.id AND c.kind = 'plan'
                            AND c.status = 'applied' AND c.decided_at >= s.cycle_start)
          AND NOT EXISTS (
              SELECT 1 FROM credit_lots l
              WHERE l.account_id = s.account_id
                AND (l.grant_key = k.key
                OR s.amount_minor = 0 AND {_free_grant("s.cycle_start")}))
        UNION ALL
        SELECT account_id, min(public_id('lot', id))
        FROM credit_lots l
        WHERE kind = 'plan' AND grant_key LIKE 'sub\\_%/cycle-%'
          -- A part that ends with its cycle belongs to the grant of the part that lives on.
          AND grant_key NOT LIKE '%/not-kept'
        GROUP BY account_id, split_part(grant_key, '/', 1), coalesce(cycle_end, expires_at)
        -- A dispute that was won keeps the lot of an earlier cycle, perhaps until this one ends.
        HAVING count(*) > 1 AND NOT EXISTS (
            SELECT 1 FROM disputes d WHERE d.account_id = l.account_id AND d.state = 'won')
        UNION ALL
        -- What lives on follows a cycle that runs, or ends with the one that ended.
        SELECT l.account_id, public_id('lot', l.id)
        FROM credit_lots l JOIN accounts a ON a.id = l.account_id
        WHERE l.kept_from IS NOT NULL AND l.is_open
          AND l.expires_at > coalesce(a.clock_at, :now)
          AND NOT EXISTS (
              SELECT 1 FROM subscriptions s
              WHERE s.account_id = l.account_id
                AND (s.cycle_end >= l.expires_at
                     OR s.status IN ('trialing', 'active', 'past_due', 'unpaid')
                     AND s.cycle_end >= l.kept_from))
    """,  # noqa: S608 - put together from constants
}
