-- Accounts (by place) that may be unable to pay all their records: what is certainly available for
-- each is less than all cost together.
CREATE OR REPLACE FUNCTION usage_insufficient(p_records usage_rated[]) RETURNS integer[]
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT ARRAY(
        SELECT r.account
        FROM (
            SELECT account_id, (use).account, meter, max(created_at) AS as_of,
                sum(total_amount) AS needed,
                bool_or(billing_method = 'wallet_deduction') AS bought_only
            FROM unnest(p_records)
            WHERE billing_status = 'processing'
            GROUP BY account_id, (use).account, meter) AS r
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(remaining - held) FILTER (WHERE scope IS NULL), 0) AS general,
                coalesce(sum(remaining - held) FILTER (WHERE scope = r.meter), 0) AS scoped
            FROM credit_lots
            WHERE account_id = r.account_id AND is_open AND (is_paid OR NOT r.bought_only)
                AND coalesce(expires_at, 'infinity') > r.as_of + interval '1 second'
        ) AS l
        GROUP BY r.account
        HAVING sum(greatest(0, r.needed - l.scoped)) > min(l.general))
$$;
