-- Products whose every price in credits, an account's own included, has tiers or free units: what
-- those have seen follows from the records alone. Of others it follows from the prices of their time.
CREATE OR REPLACE FUNCTION usage_tiered_products(p_account_id uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT product FROM product_prices WHERE currency = 'CREDIT'
        UNION SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND currency = 'CREDIT'
        EXCEPT SELECT product FROM product_prices
        WHERE currency = 'CREDIT' AND model = 'per_unit' AND free_units = 0
        EXCEPT SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND currency = 'CREDIT' AND model = 'per_unit'
            AND free_units = 0)
$$;

-- What an account's counters must be, from its records, in cycles that begin at `p_since` or later.
-- The same list as usage_4_write.sql.
CREATE OR REPLACE FUNCTION usage_counted(p_account_id uuid, p_since timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT
        g.owner, g.grain, r.period_start, g.bucket, r.meter, g.facet,
        sum(g.quantity), count(*), max(r.usage_amount),
        (array_agg(r.usage_amount ORDER BY r.occurred_at DESC))[1], max(r.occurred_at),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
        coalesce(sum(r.charged_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
    FROM (SELECT usage_tiered_products(p_account_id) AS products OFFSET 0) AS t
    CROSS JOIN billing_records AS r
    CROSS JOIN LATERAL (
        SELECT o.owner, 'day', r.day_at, CASE o.owner WHEN '' THEN concat_ws('|',
            coalesce(r.service_type, ''), r.billing_method, r.billing_status, r.currency)
            ELSE '' END, r.included_amount + r.charged_amount
        FROM (VALUES (''), ('u:' || r.user_id), ('o:' || r.organization_id), ('a:' || r.operation),
            ('m:' || r.model)) AS o(owner)
        WHERE o.owner IS NOT NULL
        UNION ALL
        SELECT '', 'hour', date_trunc('hour', r.occurred_at), '',
            r.included_amount + r.charged_amount
        WHERE EXISTS (SELECT 1 FROM meters WHERE key = r.meter AND hourly)
        UNION ALL
        SELECT 'p:' || r.product_id, 'day', r.day_at, '', r.charged_amount
        WHERE r.product_id = ANY (t.products) AND r.currency = 'CREDIT'
            AND (r.total_amount > 0 OR r.is_free_tier)
    ) AS g(owner, grain, bucket, facet, quantity)
    -- The cycle decides; clocks differ a little, and the time only narrows what is read.
    WHERE r.account_id = p_account_id AND r.occurred_at >= p_since - interval '5 minutes'
        AND r.kind = 'usage' AND r.period_start >= p_since
    GROUP BY g.owner, g.grain, r.period_start, g.bucket, r.meter, g.facet
$$;

-- Counters that differ from the records, on one snapshot; with `p_write` they are set right. Then
-- the account's lock must be held, so that no use comes between.
CREATE OR REPLACE FUNCTION usage_recount(p_account_id uuid, p_since timestamptz, p_write boolean)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    WITH wrong AS MATERIALIZED (
        SELECT owner, grain, period_start, bucket, meter, facet, w.quantity, w.events, w.maximum,
            w.last_value, w.last_at, w.credits, w.overage, w.overage_total,
            c.quantity AS kept_quantity, c.events AS kept_events
        FROM usage_counted(p_account_id, p_since) AS w
        FULL JOIN (
            SELECT * FROM usage_counters AS u
            WHERE u.account_id = p_account_id AND u.period_start >= p_since
                AND (u.owner NOT LIKE 'p:%'
                    OR substr(u.owner, 3) = ANY (usage_tiered_products(p_account_id)))
        ) AS c USING (owner, grain, period_start, bucket, meter, facet)
        WHERE (coalesce(w.quantity, 0), coalesce(w.events, 0), coalesce(w.credits, 0),
                coalesce(w.overage, 0), coalesce(w.overage_total, 0))
            <> (coalesce(c.quantity, 0), coalesce(c.events, 0), coalesce(c.credits, 0),
                coalesce(c.overage, 0), coalesce(c.overage_total, 0))
    ), gone AS (
        DELETE FROM usage_counters AS u USING wrong AS x
        WHERE p_write AND x.events IS NULL AND u.account_id = p_account_id
            AND (u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet)
                = (x.owner, x.grain, x.period_start, x.bucket, x.meter, x.facet)
    ), written AS (
        INSERT INTO usage_counters (
            account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total)
        SELECT p_account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total
        FROM wrong WHERE p_write AND events IS NOT NULL
        ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
            quantity = excluded.quantity, events = excluded.events, maximum = excluded.maximum,
            last_value = excluded.last_value, last_at = excluded.last_at,
            credits = excluded.credits, overage = excluded.overage,
            overage_total = excluded.overage_total
    )
    SELECT owner, grain, period_start, bucket, meter, facet, kept_quantity, quantity, kept_events,
        events
    FROM wrong ORDER BY grain, period_start, bucket, owner, meter, facet
$$;
