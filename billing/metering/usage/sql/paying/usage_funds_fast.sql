-- Places of the accounts that do not certainly have what they are to pay, or have credits that are
-- for some meter alone and go first (`short`); of those whose dues are paid one by one (`apart`):
-- they may want credits bought after it, or some dues are for bought credits alone and others not;
-- and whose lots or holds may have expired, which is to be settled first. As a rule an account has
-- one due, and the lot that burns first covers it: those accounts are `covered`, in the order of
-- the dues, with those `lots`. Of the others all open lots are added up.
CREATE OR REPLACE FUNCTION usage_funds_fast(
    p_dues usage_due[], OUT short integer[], OUT apart integer[], OUT expired integer[],
    OUT covered integer[], OUT lots uuid[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT
        coalesce(array_agg(d.account) FILTER (
            WHERE t.there < d.amount OR l.scope IS NOT NULL), '{}'),
        coalesce(array_agg(d.account) FILTER (
            WHERE d.is_mixed OR b.top_up_below > t.there - d.amount), '{}'),
        coalesce(array_agg(d.account) FILTER (WHERE b.next_expiry <= d.as_of), '{}'),
        coalesce(array_agg(d.account ORDER BY d.place) FILTER (WHERE d.is_one AND c.yes), '{}'),
        coalesce(array_agg(l.id ORDER BY d.place) FILTER (WHERE d.is_one AND c.yes), '{}')
    FROM (
        SELECT account, account_id, min(ordinality) AS place, count(*) = 1 AS is_one,
            max(as_of) AS as_of, sum(amount) AS amount, bool_or(bought_only) AS bought_only,
            bool_or(bought_only) <> bool_and(bought_only) AS is_mixed
        FROM unnest(p_dues) WITH ORDINALITY
        GROUP BY account, account_id) AS d
    CROSS JOIN LATERAL (
        SELECT top_up_below, next_expiry FROM credit_balances
        WHERE account_id = d.account_id LIMIT 1) AS b
    LEFT JOIN LATERAL (
        SELECT o.id, o.free, o.scope FROM credit_burn_order(d.account_id) AS o
        WHERE o.scope IS NOT NULL OR o.is_paid OR NOT d.bought_only
        LIMIT 1) AS l ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(l.scope IS NULL AND l.free >= d.amount, false)
            AND coalesce(b.next_expiry > d.as_of + interval '1 second', true)) AS c(yes)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.yes AND b.top_up_below IS NULL THEN l.free ELSE (
            SELECT coalesce(sum(o.free), 0)
            FROM credit_burn_order(d.account_id) AS o JOIN credit_lots AS n ON n.id = o.id
            WHERE (o.is_paid OR NOT d.bought_only)
                AND coalesce(n.expires_at, 'infinity') > d.as_of + interval '1 second')
        END
        OFFSET 0) AS t(there)  -- once, though it is compared twice
$$;
