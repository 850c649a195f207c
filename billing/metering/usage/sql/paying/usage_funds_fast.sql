-- Places of the accounts that do not certainly have what they are to pay, or have credits that are
-- for some meter alone and go first (`short`); of those whose dues are paid one by one (`apart`):
-- they may want credits bought after it, or some dues are for bought credits alone and others not;
-- and whose lots or holds may have expired, which is to be settled first.
CREATE OR REPLACE FUNCTION usage_funds_fast(
    p_dues usage_due[], OUT short integer[], OUT apart integer[], OUT expired integer[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT
        coalesce(array_agg(d.account) FILTER (WHERE l.there < d.amount OR l.scoped), '{}'),
        coalesce(array_agg(d.account) FILTER (
            WHERE d.is_mixed OR b.top_up_below > l.there - d.amount), '{}'),
        coalesce(array_agg(d.account) FILTER (WHERE b.next_expiry <= d.as_of), '{}')
    FROM (
        SELECT account, account_id, max(as_of) AS as_of, sum(amount) AS amount,
            bool_or(bought_only) AS bought_only,
            bool_or(bought_only) <> bool_and(bought_only) AS is_mixed
        FROM unnest(p_dues)
        GROUP BY account, account_id) AS d
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
