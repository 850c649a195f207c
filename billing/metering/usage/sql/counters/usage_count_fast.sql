-- The counters of the fast path. Every account is locked, so nobody else adds one between the look
-- and the insert: an existing counter is updated in place, at half the cost of an upsert; counters
-- of a new day or cycle are inserted.
CREATE OR REPLACE FUNCTION usage_count_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH detailed AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM unnest(p_kinds) AS k
                WHERE k.is_hourly OR num_nonnulls(k.operation, k.model) > 0)
            OR EXISTS (SELECT FROM unnest(p_uses) AS u
                WHERE num_nonnulls(u.user_id, u.organization_id) > 0) AS yes
    )
    -- By columns alone, without constants: else a plan that was made while the table was empty
    -- reads all of it, and looks through the sums for each row.
    MERGE INTO usage_counters AS c
    USING (
        SELECT o.* FROM usage_own_sums_fast(p_accounts, p_kinds, p_uses) AS o
        UNION ALL
        SELECT d.* FROM detailed CROSS JOIN LATERAL usage_detail_sums_fast(
            p_accounts, p_kinds, p_uses) AS d
        WHERE detailed.yes
        -- In the order of the index: neighbours are met one after the other.
        ORDER BY account_id) AS g
    ON c.account_id = g.account_id AND c.owner = g.owner AND c.grain = g.grain
        AND c.period_start = g.period_start AND c.bucket = g.bucket AND c.meter = g.meter
        AND c.facet = g.facet
    WHEN MATCHED THEN UPDATE SET
        quantity = c.quantity + g.quantity,
        events = c.events + g.events,
        maximum = greatest(c.maximum, g.maximum),
        last_value = CASE WHEN g.last_at >= c.last_at THEN g.last_value ELSE c.last_value END,
        last_at = greatest(c.last_at, g.last_at),
        credits = c.credits + g.credits
    WHEN NOT MATCHED THEN INSERT (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, overage, overage_total)
    VALUES (
        g.account_id, g.owner, g.grain, g.period_start, g.bucket, g.meter, g.facet, g.quantity,
        g.events, g.maximum, g.last_value, g.last_at, g.credits, g.overage, g.overage_total)
$$;
