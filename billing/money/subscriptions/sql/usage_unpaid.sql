-- What an account has used and not paid: uses put off, uses whose payment failed and, since an
-- invoice is overdue, use beyond the plan. And the most that its plan lets it come to, in whole
-- units of the currency; a credit counts as one of them.
CREATE OR REPLACE FUNCTION usage_unpaid(
    p_account_id uuid,
    OUT unpaid numeric, OUT unpaid_limit numeric, OUT currency text)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
    since timestamptz;
    limits jsonb;
BEGIN
    SELECT s.id, s.plan_id, s.currency, s.status, s.zone, s.cycle_start INTO sub
    FROM subscriptions AS s
    WHERE s.account_id = p_account_id
        AND s.status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused');
    currency := coalesce(sub.currency, (
        SELECT b.currency FROM credit_balances AS b WHERE b.account_id = p_account_id), 'USD');
    SELECT p.unpaid_limit INTO limits FROM plans AS p
    WHERE p.id = coalesce(sub.plan_id, plan_by_default());
    unpaid_limit := coalesce(
        (limits ->> currency)::numeric / power(10::numeric, money_exponent(currency)), 100);
    IF sub.status = 'past_due' THEN
        since := coalesce((
            SELECT min(opened_at) FROM dunning_cases
            WHERE account_id = p_account_id AND status IN ('open', 'paused')), sub.cycle_start);
    END IF;
    SELECT coalesce(sum(c.credits + c.overage_total) FILTER (WHERE f.status = 'failed'
                OR f.status = 'pending' AND f.currency = 'CREDIT'), 0)
            + coalesce(sum(c.overage_total) FILTER (WHERE f.method = 'subscription_included'
                AND c.bucket >= date_trunc('day', since, sub.zone)
                AND c.period_start >= (
                    SELECT max(start_at) FROM usage_periods
                    WHERE account_id = p_account_id AND start_at <= since)), 0)
    INTO unpaid
    FROM usage_counters AS c CROSS JOIN LATERAL (SELECT
        split_part(c.facet, '|', 2) AS method, split_part(c.facet, '|', 3) AS status,
        split_part(c.facet, '|', 4) AS currency) AS f
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.grain = 'day';
END;
$$;
