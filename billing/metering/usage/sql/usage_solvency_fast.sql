-- Whether each account certainly has what it is to pay, and no credits that are for some meter
-- alone and go first (`is_certain`); whether nobody wants credits bought (`is_plain`); and whose
-- lots or holds may have expired, which is to be settled first.
CREATE OR REPLACE FUNCTION usage_solvency_fast(
    p_dues usage_due[],
    OUT is_certain boolean, OUT is_plain boolean, OUT expired uuid[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_and(l.there >= d.amount AND NOT l.scoped), true),
        coalesce(bool_and(b.top_up_below IS NULL), true)
            AND bool_and(d.bought_only = p_dues[1].bought_only AND NOT d.is_mixed),
        array_agg(d.account_id) FILTER (WHERE b.next_expiry <= d.as_of)
    FROM (
        SELECT account_id, max(as_of) AS as_of, sum(amount) AS amount,
            bool_or(bought_only) AS bought_only,
            bool_or(bought_only) <> bool_and(bought_only) AS is_mixed
        FROM unnest(p_dues)
        GROUP BY account_id) AS d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(remaining - held) FILTER (WHERE (is_paid OR NOT d.bought_only)
                AND coalesce(expires_at, 'infinity') > d.as_of + interval '1 second'),
                0) AS there,
            coalesce(bool_or(scope IS NOT NULL), false) AS scoped
        FROM credit_lots
        WHERE account_id = d.account_id AND is_open
    ) AS l
    CROSS JOIN LATERAL (
        SELECT top_up_below, next_expiry FROM credit_balances
        WHERE account_id = d.account_id LIMIT 1) AS b
$$;
