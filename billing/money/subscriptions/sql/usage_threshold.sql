-- Whether use beyond the plan that no invoice bills yet has reached the subscription's billing
-- threshold in the open cycle; then, once until it is billed, the subscription's matter is woken to
-- write an early invoice. Expects the account's lock and its rows to be shown.
CREATE OR REPLACE FUNCTION usage_threshold(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH crossed AS (
        UPDATE usage_periods AS p
        SET threshold_at = p_at, threshold_number = p.threshold_number + 1
        FROM credit_balances AS b, subscriptions AS s
        WHERE b.account_id = p_account_id AND p.id = b.period_id AND s.id = p.subscription_id
            AND s.status IN ('active', 'past_due') AND p.threshold_at IS NULL
            AND s.billing_threshold_minor IS NOT NULL
            AND s.billing_threshold_minor <= power(10::numeric, money_exponent(p.currency)) * (
                coalesce((
                    SELECT sum(overage_total) FROM usage_cycles
                    WHERE account_id = p_account_id AND owner = ''
                        AND period_start = p.start_at), 0)
                - coalesce((
                    SELECT sum((detail ->> 'accrued')::numeric) FROM invoice_lines
                    WHERE account_id = p_account_id AND kind = 'usage'
                        AND period_start = p.start_at), 0))
        RETURNING 'subscription/' || public_id('sub', s.id) AS workflow_id
    )
    UPDATE matters AS m
    SET revision = m.revision + 1, next_due = least(coalesce(m.next_due, p_at), p_at),
        next_step = NULL, next_key = NULL, woken_at = clock_timestamp(), started_at = NULL,
        closed_at = NULL, status = CASE WHEN m.status = 'halted' THEN 'halted' ELSE 'open' END
    FROM crossed
    WHERE m.workflow_id = crossed.workflow_id
$$;
