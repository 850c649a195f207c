"""Queries on payments and invoices: each returns (account_id, subject) of the rows that fail it.

LATE has the checks that fail by time, found by index over all accounts; OF_ALL those across
accounts. `:now` is real time; an account with its own clock is checked by that clock.
"""

from typing import Final

from billing.core.literals import texts
from billing.money.invoices.balances import ADJUSTMENTS
from billing.money.invoices.series import OF_TESTS
from billing.money.invoices.sums import LINE_TOTAL

_REDEEMED: Final = """
        SELECT d.account_id, 'coupon ' || c.code AS subject
        FROM coupons c JOIN (
            SELECT coupon_id, account_id, count(*) AS own, sum(count(*)) OVER (
                       PARTITION BY coupon_id) AS times
            FROM discounts WHERE status <> 'released' GROUP BY 1, 2) d ON d.coupon_id = c.id"""

ADJUSTED: Final = f"""
        SELECT b.account_id, b.key AS subject
        FROM balance_entries b
        WHERE b.kind IN {texts(ADJUSTMENTS)} AND NOT EXISTS (
            SELECT FROM billing_audit t
            WHERE t.subject = public_id('adj', b.id) AND t.account_id = b.account_id
              AND t.action = 'balance.adjusted'
              AND (t.detail ->> 'amount_cents')::bigint = b.amount_minor
              AND t.detail ->> 'currency' = b.currency
            OFFSET 0)
    """  # noqa: S608 (constants)
"""Adjustments that the audit does not know so: each is looked up by its id."""

QUERIES: Final[dict[str, str]] = {
    # A purchase paid after it expired was paid on its first invoice, and booked on its second.
    "payments_booked": """
        WITH came AS (
            SELECT coalesce(i.purchase_id, i.id) AS bill, sum(p.received_minor) AS minor
            FROM payments p JOIN invoices i ON i.id = p.invoice_id
            WHERE p.settled_at IS NOT NULL GROUP BY 1
        ), kept AS (
            SELECT coalesce(i.purchase_id, i.id) AS bill, sum(b.amount_minor) AS minor
            FROM balance_entries b JOIN invoices i ON i.id = b.invoice_id
            WHERE b.kind IN ('overpaid', 'unasked') GROUP BY 1
        ), given_back AS (
            -- Of money that was booked, note and balance say where it came from.
            SELECT coalesce(i.purchase_id, i.id) AS bill, sum(r.minor) AS minor
            FROM (SELECT invoice_id, amount_minor - note_minor - balance_minor AS minor
                  FROM refunds WHERE status <> 'failed' AND (booked_at IS NOT NULL
                      OR key LIKE 'pay\\_%')
                  UNION ALL
                  SELECT invoice_id, amount_minor - loss_minor - note_minor - balance_minor
                  FROM disputes WHERE state = 'lost' AND booked_at IS NOT NULL
            ) r JOIN invoices i ON i.id = r.invoice_id GROUP BY 1
        ), booked AS (
            SELECT coalesce(purchase_id, id) AS bill, account_id,
                   min(public_id('inv', id)) AS subject, sum(amount_paid_minor) AS minor
            FROM invoices GROUP BY 1, 2
        )
        SELECT b.account_id, b.subject
        FROM booked b LEFT JOIN came USING (bill) LEFT JOIN kept USING (bill)
             LEFT JOIN given_back USING (bill)
        WHERE coalesce(came.minor, 0)
              <> b.minor + coalesce(kept.minor, 0) + coalesce(given_back.minor, 0)
    """,
    # A dispute's loss was never the payment's money. A refund to the money balance that was then
    # sent to a bank counts once.
    "refunds_match_payments": """
        WITH away AS (
            SELECT payment_id, currency, amount_minor, booked_at IS NOT NULL AS is_booked,
                   way <> 'balance' AS is_gone
            FROM refunds WHERE status <> 'failed'
            UNION ALL
            SELECT payment_id, currency, amount_minor - loss_minor, booked_at IS NOT NULL, true
            FROM disputes WHERE state IN ('open', 'lost')
              -- One that was heard before its payment was booked is placed in a moment.
              AND (wanted_minor = 0 OR note_minor + balance_minor + loss_minor > 0)
        )
        SELECT p.account_id, public_id('pay', p.id) AS subject
        FROM payments p LEFT JOIN away a ON a.payment_id = p.id
        GROUP BY p.id, p.account_id, p.refunded_minor, p.received_minor, p.status, p.settled_at,
                 p.currency
        HAVING p.refunded_minor
               <> least(p.received_minor,
                        coalesce(sum(a.amount_minor) FILTER (WHERE a.is_booked), 0))
           OR (p.status = 'refunded')
               <> (p.settled_at IS NOT NULL AND p.refunded_minor >= p.received_minor)
           OR p.settled_at IS NOT NULL
              AND sum(a.amount_minor) FILTER (WHERE a.is_gone) > p.received_minor
           OR bool_or(a.currency <> p.currency)
    """,
    # A dispute's debit of the money balance stands exactly while the dispute is open or lost. A
    # dispute won after it was booked has its note's amount on the balance, and a lost one what came
    # back though its note stands.
    "disputes_booked": """
        SELECT d.account_id, public_id('dsp', d.id) AS subject
        FROM disputes d
        WHERE (d.booked_at IS NOT NULL AND d.state NOT IN ('lost', 'won'))
           OR (SELECT coalesce(sum(b.amount_minor), 0) FROM balance_entries b
               WHERE b.account_id = d.account_id
                 AND b.key LIKE '%-' || public_id('dsp', d.id))
              <> d.noted_back_minor
                 + CASE WHEN d.state IN ('open', 'lost') THEN -d.balance_minor
                        WHEN d.booked_at IS NOT NULL THEN d.note_minor ELSE 0 END
    """,
    # Refunds and disputes whose invoice had no room for a note: once it has, the matter must act.
    "reversals_placed": f"""
        WITH away AS (
            SELECT account_id, payment_id, invoice_id, id, public_id('ref', id) AS subject,
                   amount_minor AS own, note_minor, balance_minor, 0 AS loss_minor, wanted_minor,
                   booked_at, way <> 'balance' AS is_gone
            FROM refunds WHERE status <> 'failed'
            UNION ALL
            SELECT account_id, payment_id, invoice_id, id, public_id('dsp', id),
                   amount_minor - loss_minor, note_minor, balance_minor, loss_minor, wanted_minor,
                   booked_at, true
            FROM disputes WHERE state IN ('open', 'lost')
        ), credited AS (
            SELECT l.invoice_id, l.detail ->> 'invoice' AS credits,
                   {LINE_TOTAL} AS minor
            FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
            WHERE l.kind = 'proration' AND i.status <> 'void'
        ), room AS (
            SELECT i.id, i.total_minor
                - CASE WHEN i.status IN ('paid', 'void') THEN 0
                       ELSE i.amount_due_minor - i.amount_paid_minor - i.amount_credited_minor END
                - coalesce((SELECT sum(n.amount_minor) FROM credit_notes n
                            WHERE n.invoice_id = i.id), 0)
                - coalesce((SELECT sum(a.note_minor) FROM away a
                            WHERE a.invoice_id = i.id AND a.booked_at IS NULL), 0)
                -- Its own credits of others let no more than its total go back by it.
                + least(0, coalesce((SELECT sum(c.minor) FROM credited c
                                     WHERE c.credits = i.id::text), 0)
                         - coalesce((SELECT sum(c.minor) FROM credited c
                                     WHERE c.invoice_id = i.id), 0))
                AS minor
            FROM invoices i WHERE i.id IN (
                SELECT invoice_id FROM away WHERE wanted_minor > note_minor)
        ), kept AS (
            SELECT account_id, currency, sum(amount_minor) AS minor
            FROM balance_entries GROUP BY account_id, currency
        )
        SELECT a.account_id, a.subject
        FROM away a JOIN room r ON r.id = a.invoice_id
        JOIN payments p ON p.id = a.payment_id JOIN accounts t ON t.id = a.account_id
        LEFT JOIN matters m ON m.workflow_id = 'reversal/' || public_id('pay', p.id)
        LEFT JOIN kept k ON k.account_id = a.account_id AND k.currency = p.currency
        WHERE a.wanted_minor > a.note_minor AND r.minor > 0 AND m.status IS DISTINCT FROM 'halted'
          -- What was too much for the invoice may have come back, and covers it.
          AND (a.loss_minor > 0 OR coalesce(k.minor, 0) < 0
               OR coalesce((SELECT sum(e.amount_minor) FROM balance_entries e
                            WHERE e.invoice_id = a.invoice_id
                              AND e.kind IN ('overpaid', 'unasked')), 0)
                  < (SELECT sum(o.balance_minor) FROM away o WHERE o.invoice_id = a.invoice_id))
          AND (m.workflow_id IS NULL OR m.closed_at IS NOT NULL
               OR m.next_due > coalesce(t.clock_at, :now))
          AND p.received_minor - a.note_minor > (
              SELECT coalesce(sum(o.own), 0) FROM away o
              WHERE o.payment_id = a.payment_id AND o.id <> a.id AND o.is_gone)
    """,  # noqa: S608 - put together from constants
    "payments_settled": """
        SELECT account_id, public_id('pay', id) AS subject
        FROM payments
        WHERE settled_at IS NOT NULL
          AND (status NOT IN ('succeeded', 'completed', 'refunded') OR received_minor <= 0)
    """,
    # A manual payment that is `pending` collects nothing yet: the card's payment is being canceled.
    "one_collector": """
        SELECT account_id, public_id('inv', invoice_id) AS subject
        FROM payments
        WHERE status IN ('pending', 'pending_approval', 'processing')
          AND NOT (flow = 'manual' AND status = 'pending')
        GROUP BY account_id, invoice_id HAVING count(*) > 1
    """,
    # A sale that has ended before any money was asked for leaves it open again; what comes for it
    # later is in the currency of its time.
    "one_currency": """
        WITH ended AS (
            SELECT id FROM invoices
            WHERE fact_key LIKE '%/invoice-late' OR number IS NULL AND voided_at IS NOT NULL
        )
        SELECT b.account_id, public_id('acc', b.account_id) AS subject
        FROM credit_balances b
        JOIN (SELECT account_id, currency FROM invoices
              WHERE status NOT IN ('draft', 'void') AND total_minor > 0
                AND fact_key NOT LIKE '%/invoice-late'
              UNION SELECT account_id, currency FROM payments
              WHERE status NOT IN ('failed', 'canceled')
                AND invoice_id NOT IN (SELECT id FROM ended)
              UNION SELECT account_id, currency FROM subscriptions
              WHERE status NOT IN ('canceled', 'incomplete_expired')
              UNION SELECT account_id, currency
              FROM balance_entries m LEFT JOIN ended e ON e.id = m.invoice_id
              GROUP BY account_id, currency
              HAVING sum(amount_minor) <> 0 AND sum(amount_minor) FILTER (WHERE e.id IS NULL) <> 0
             ) used USING (account_id)
        WHERE used.currency IS DISTINCT FROM b.currency
    """,
    "cards_chosen": """
        SELECT account_id, public_id('acc', account_id) AS subject
        FROM payment_methods WHERE status = 'active'
        GROUP BY account_id HAVING NOT bool_or(is_default)
    """,
    # The provider keeps cards with its customer, and both are forgotten together.
    "cards_kept": """
        SELECT a.id AS account_id, public_id('acc', a.id) AS subject
        FROM accounts a
        WHERE a.stripe_customer_id IS NULL
          AND EXISTS (SELECT FROM payment_methods x
                      WHERE x.account_id = a.id AND x.status = 'active')
    """,
    "tests_apart": f"""
        SELECT a.id AS account_id, public_id('acc', a.id) AS subject
        FROM accounts a
        WHERE EXISTS (SELECT FROM invoices i
                      WHERE i.account_id = a.id AND (i.series LIKE '{OF_TESTS}%') <> a.is_test)
    """,  # noqa: S608
    # For a single account this can be checked only in the account's own series.
    "invoice_numbers": f"""
        WITH numbered AS (
            SELECT account_id, series, number FROM invoices
            WHERE number IS NOT NULL AND series LIKE '{OF_TESTS}%'
            UNION ALL
            SELECT account_id, series, number FROM credit_notes WHERE series LIKE '{OF_TESTS}%'
        ), counted AS (
            SELECT account_id, series, count(*) AS numbers,
                   max(substr(number, length(series) + 2)::bigint) AS last
            FROM numbered GROUP BY account_id, series
        )
        SELECT c.account_id, c.series AS subject
        FROM counted c LEFT JOIN invoice_series s USING (series) LEFT JOIN (
            SELECT series, sum(last_number - first_number + 1) AS numbers, max(last_number) AS last
            FROM skipped_numbers GROUP BY series) k USING (series)
        WHERE c.numbers + coalesce(k.numbers, 0) <> greatest(c.last, k.last)
           OR s.last_number IS DISTINCT FROM greatest(c.last, k.last)
    """,  # noqa: S608
    "invoice_sums": """
        SELECT i.account_id, public_id('inv', i.id) AS subject
        FROM invoices i
        LEFT JOIN (SELECT invoice_id, sum(amount_minor) AS minor, sum(discount_minor) AS discount,
                          sum(tax_minor) AS tax, sum(tax_included_minor) AS included
                   FROM invoice_lines GROUP BY invoice_id) l ON l.invoice_id = i.id
        LEFT JOIN (SELECT invoice_id, -sum(amount_minor) AS minor
                   FROM balance_entries WHERE kind = 'carried' GROUP BY invoice_id) c
               ON c.invoice_id = i.id
        WHERE (i.subtotal_minor, i.discount_minor, i.tax_minor, i.tax_included_minor)
              IS DISTINCT FROM (coalesce(l.minor, 0), coalesce(l.discount, 0),
                                coalesce(l.tax, 0), coalesce(l.included, 0))
           OR i.total_minor <> greatest(0, i.subtotal_minor - i.discount_minor
                                           + i.tax_minor - i.tax_included_minor)
           OR i.total_minor
              <> i.amount_due_minor + i.balance_applied_minor + coalesce(c.minor, 0)
    """,
    # For a single account only too many redemptions of its own can be detected.
    "coupons_counted": f"""
        {_REDEEMED}
        WHERE c.redeemed < d.own
    """,
    "invoices_settled": """
        SELECT account_id, public_id('inv', id) AS subject
        FROM invoices
        WHERE (status = 'paid' AND amount_paid_minor + amount_credited_minor < amount_due_minor)
           OR (status = 'open' AND amount_paid_minor + amount_credited_minor >= amount_due_minor)
           OR amount_paid_minor > amount_due_minor
           OR (status = 'paid') <> (paid_at IS NOT NULL)
    """,
    "credit_notes": """
        SELECT i.account_id, public_id('inv', i.id) AS subject
        FROM invoices i
        LEFT JOIN (SELECT invoice_id, sum(amount_minor) AS minor, sum(tax_minor) AS tax
                   FROM credit_notes GROUP BY invoice_id) n ON n.invoice_id = i.id
        LEFT JOIN (SELECT invoice_id, sum(amount_minor) AS minor
                   FROM balance_entries WHERE kind = 'credited' GROUP BY invoice_id) b
               ON b.invoice_id = i.id
        -- What went back to its payer.
        LEFT JOIN (SELECT invoice_id, sum(note_minor) AS minor
                   FROM (SELECT invoice_id, note_minor FROM refunds
                         WHERE booked_at IS NOT NULL AND way <> 'balance'
                         UNION ALL
                         SELECT invoice_id, note_minor + noted_back_minor FROM disputes
                         WHERE booked_at IS NOT NULL) away
                   GROUP BY invoice_id) r ON r.invoice_id = i.id
        -- A debt that was carried to it may be forgiven with it.
        WHERE coalesce(n.minor, 0) > greatest(i.total_minor, i.amount_due_minor)
           OR coalesce(n.tax, 0) > greatest(i.tax_minor, 0)
              -- The tax of a line that credits another invoice, below zero, belongs to that one.
              AND n.tax > (SELECT coalesce(sum(l.tax_minor), 0) FROM invoice_lines l
                           WHERE l.invoice_id = i.id AND l.kind <> 'proration')
           OR i.amount_credited_minor + coalesce(b.minor, 0) + coalesce(r.minor, 0)
              <> coalesce(n.minor, 0)
           OR (i.status = 'void' AND i.number IS NOT NULL
               AND coalesce(n.minor, 0) <> i.total_minor)
    """,
    "money_balance": """
        SELECT i.account_id, public_id('inv', i.id) AS subject
        FROM invoices i
        LEFT JOIN (SELECT invoice_id, -sum(amount_minor) AS minor
                   FROM balance_entries WHERE kind = 'applied' GROUP BY invoice_id) b
               ON b.invoice_id = i.id
        WHERE i.balance_applied_minor <> coalesce(b.minor, 0)
        UNION ALL
        SELECT b.account_id, b.key
        FROM balance_entries b
        LEFT JOIN invoices i
               ON i.id = b.invoice_id AND i.account_id = b.account_id AND i.currency = b.currency
        WHERE b.invoice_id IS NOT NULL AND i.id IS NULL
    """,
    "adjustments_told": f"""{ADJUSTED}
        UNION ALL
        SELECT t.account_id, t.subject
        FROM billing_audit t
        WHERE t.action = 'balance.adjusted' AND NOT EXISTS (
            SELECT FROM balance_entries b
            WHERE b.kind IN {texts(ADJUSTMENTS)} AND public_id('adj', b.id) = t.subject
              AND b.account_id = t.account_id)
    """,  # noqa: S608 (constants)
    # Only subscriptions that were ever active. The rest of a partly paid invoice may come later, as
    # may a refund of the same instant, while a test clock stands still.
    "debts_billed": """
        WITH ended AS (
            SELECT account_id, max(ended_at) AS at
            FROM subscriptions s
            WHERE status = 'canceled' AND (trial_end IS NOT NULL OR EXISTS (
                SELECT 1 FROM invoices i WHERE i.subscription_id = s.id AND i.number IS NOT NULL))
            GROUP BY account_id
        ), owed AS (
            SELECT b.account_id, -sum(b.amount_minor) AS minor,
                   coalesce(-sum(b.amount_minor) FILTER (
                       WHERE (b.at < e.at OR b.at = e.at AND b.kind <> 'refunded')
                         AND b.key NOT LIKE '%-rest'), 0) AS minor_then,
                   max(coalesce((CAST(:minimums AS jsonb) ->> b.currency)::bigint, :minimum))
                       AS minimum
            FROM balance_entries b JOIN ended e USING (account_id)
            GROUP BY b.account_id
        )
        SELECT o.account_id, public_id('acc', o.account_id) AS subject
        FROM owed o
        WHERE least(o.minor, o.minor_then) >= o.minimum
          AND NOT EXISTS (SELECT 1 FROM subscriptions s
                          WHERE s.account_id = o.account_id
                            AND s.status NOT IN ('canceled', 'incomplete_expired'))
          AND NOT EXISTS (SELECT 1 FROM invoices i
                          WHERE i.account_id = o.account_id AND i.subscription_id IS NOT NULL
                            AND i.status IN ('draft', 'open'))
    """,
}

LATE: Final[dict[str, str]] = {
    "payments_settled": """
        SELECT p.account_id, public_id('pay', p.id) AS subject
        FROM payments p
        JOIN accounts a ON a.id = p.account_id
        JOIN invoices i ON i.id = p.invoice_id
        LEFT JOIN matters m ON m.workflow_id = i.workflow_id
        WHERE p.status IN ('succeeded', 'completed') AND p.settled_at IS NULL
          AND p.paid_at < coalesce(a.clock_at, :now)
              - CASE m.status WHEN 'open' THEN :slack ELSE :at_rest END
          AND m.status IS DISTINCT FROM 'halted'
    """,
    "disputes_booked": """
        SELECT d.account_id, public_id('dsp', d.id) AS subject
        FROM disputes d
        JOIN accounts a ON a.id = d.account_id
        JOIN payments p ON p.id = d.payment_id
        LEFT JOIN matters m ON m.workflow_id = 'reversal/' || public_id('pay', p.id)
        WHERE d.booked_at IS NULL AND d.state = 'lost'
          AND greatest(d.closed_at, p.settled_at) < coalesce(a.clock_at, :now)
              - CASE m.status WHEN 'open' THEN :slack ELSE :at_rest END
          AND p.settled_at IS NOT NULL AND m.status IS DISTINCT FROM 'halted'
    """,
    "attempts_decided": """
        SELECT i.account_id, public_id('inv', i.id) AS subject
        FROM payment_attempts t
        JOIN invoices i ON i.id = t.invoice_id
        LEFT JOIN matters m ON m.workflow_id = i.workflow_id
        WHERE t.status = 'pending' AND t.real_started_at < :now - :undecided
          AND m.status IS DISTINCT FROM 'halted'
    """,
}

OF_ALL: Final[dict[str, str]] = {
    "coupons_counted": f"""
        {_REDEEMED}
        WHERE c.redeemed <> d.times AND c.redeemed >= d.own
    """,
}
