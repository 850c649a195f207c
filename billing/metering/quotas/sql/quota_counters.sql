-- A slice of an account's quotas after `p_after`, in the order of their names: the stored use of
-- each, and the sum of its records and open claims. For past and rolling windows both are the
-- stored use: the former restart with the next use, the latter have no records. `p_write` corrects
-- differences and requires the account's lock.
CREATE OR REPLACE FUNCTION quota_counters(
    p_account_id uuid, p_after text[], p_limit integer, p_write boolean, p_at timestamptz)
RETURNS TABLE (
    meter text, owner text, window_kind text, begins timestamptz, kept numeric, counted numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    slice uuid[] := ARRAY(
        SELECT q.id FROM billing_quotas AS q
        WHERE q.account_id = p_account_id
            AND (q.meter, q.owner, q.window_kind) > (p_after[1], p_after[2], p_after[3])
        ORDER BY q.meter, q.owner, q.window_kind LIMIT p_limit);
BEGIN
    IF p_write THEN
        -- Claims of the fast path count without the account's lock.
        PERFORM 1 FROM billing_quotas WHERE id = ANY (slice) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    RETURN QUERY
    WITH claims AS MATERIALIZED (
        SELECT c.meter, o.owner, c.claimed_at, c.amount
        FROM quota_claims AS c
        CROSS JOIN LATERAL (VALUES
            (''), ('u:' || c.user_id), ('o:' || c.organization_id)) AS o(owner)
        WHERE c.account_id = p_account_id AND c.status = 'open' AND o.owner IS NOT NULL
    ), claimed AS MATERIALIZED (
        SELECT q.id, sum(c.amount) AS amount
        FROM billing_quotas AS q JOIN claims AS c
            ON c.meter = q.meter AND c.owner = q.owner AND c.claimed_at >= q.window_start
        WHERE q.id = ANY (slice)
        GROUP BY q.id
    ), found AS MATERIALIZED (
        SELECT q.id, q.used, CASE
            WHEN q.span_seconds IS NULL AND q.owner <> 'u*' AND q.window_start
                = quota_window(q.window_kind, NULL, p.zone, p.start_at, p_at)
            THEN least(999999999999999, greatest(0,
                quota_recorded(q, p.zone, q.window_start) + coalesce(c.amount, 0)))
            ELSE q.used END AS counted
        FROM billing_quotas AS q
        JOIN credit_balances AS b ON b.account_id = q.account_id
        JOIN usage_periods AS p ON p.id = b.period_id
        LEFT JOIN claimed AS c ON c.id = q.id
        WHERE q.id = ANY (slice)
    ), written AS (
        UPDATE billing_quotas AS q SET used = f.counted, plain_until = NULL
        FROM found AS f WHERE p_write AND q.id = f.id AND f.counted <> f.used
    )
    SELECT q.meter, q.owner, q.window_kind, q.window_start, f.used, f.counted
    FROM found AS f JOIN billing_quotas AS q ON q.id = f.id
    ORDER BY 1, 2, 3;
END;
$$;
