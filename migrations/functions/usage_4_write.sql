-- Tell of a threshold once per window: its row, and its event.
CREATE OR REPLACE FUNCTION usage_alert(
    p_account_id uuid, p_subject text, p_meter text, p_owner text, p_threshold integer,
    p_window_start timestamptz, p_limit numeric, p_used numeric, p_at timestamptz,
    p_type text DEFAULT 'evt.billing.usage.threshold_reached')
RETURNS void
LANGUAGE sql AS $$
    WITH told AS (
        INSERT INTO usage_alerts (
            id, account_id, subject, meter, owner, threshold, window_start, limit_amount,
            used_amount, created_at)
        VALUES (uuidv7(), p_account_id, p_subject, p_meter, p_owner, p_threshold, p_window_start,
            p_limit, p_used, p_at)
        ON CONFLICT DO NOTHING
        RETURNING id
    ), numbered AS (
        UPDATE credit_balances SET event_seq = event_seq + 1
        WHERE account_id = p_account_id AND EXISTS (SELECT 1 FROM told)
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), p_account_id, event_seq, p_type,
        jsonb_build_object(
            'account_id', public_id('acc', p_account_id), 'meter', p_meter,
            'subject', p_subject, 'owner', p_owner, 'threshold_percent', p_threshold,
            'limit', public_decimal(p_limit), 'used', public_decimal(p_used),
            'window_start', p_window_start),
        p_at, clock_timestamp()
    FROM numbered
$$;

-- An event out for each use, where that is wished for (BILLING_PUBLISH_USAGE).
CREATE OR REPLACE FUNCTION usage_publish(p_records billing_records[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH numbered AS (
        UPDATE credit_balances AS b SET event_seq = b.event_seq + r.uses
        FROM (SELECT account_id, count(*) AS uses FROM unnest(p_records) GROUP BY 1) AS r
        WHERE b.account_id = r.account_id
        RETURNING b.account_id, old.event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), r.account_id,
        n.event_seq + row_number() OVER (PARTITION BY r.account_id ORDER BY r.ordinality),
        'evt.billing.usage.recorded',
        jsonb_build_object(
            'account_id', public_id('acc', r.account_id), 'billing_id', public_id('bill', r.id),
            'event_id', r.event_id, 'user_id', r.user_id, 'organization_id', r.organization_id,
            'product_id', r.product_id, 'service_type', r.service_type,
            'feature_type', r.feature_type, 'meter', r.meter,
            'usage_amount', public_decimal(r.usage_amount),
            'total_amount', public_decimal(r.total_amount), 'currency', r.currency,
            'billing_method', r.billing_method, 'billing_status', r.billing_status,
            'occurred_at', r.occurred_at),
        r.created_at, clock_timestamp()
    FROM unnest(p_records) WITH ORDINALITY AS r
    JOIN numbered AS n ON n.account_id = r.account_id
$$;

-- Records that are taken, and all counters they go into, in one statement; then what the plan's
-- limits have to say. Every row's account is locked, so counters need no order of their own.
CREATE OR REPLACE FUNCTION usage_write(
    p_records billing_records[], p_limited boolean, p_tiered text[], p_hourly text[],
    p_levels text[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    crossed record;
BEGIN
    FOR crossed IN
        WITH taken AS (
            INSERT INTO billing_records SELECT * FROM unnest(p_records) RETURNING NULL
        ), counted AS (
            INSERT INTO usage_counters AS c (
                account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
                maximum, last_value, last_at, credits, overage, overage_total)
            SELECT
                r.account_id, g.owner, g.grain, r.period_start, g.bucket, r.meter, g.facet,
                sum(g.quantity), count(*), max(r.usage_amount),
                (array_agg(r.usage_amount ORDER BY r.occurred_at DESC, r.ordinality DESC))[1],
                max(r.occurred_at),
                coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
                coalesce(sum(r.charged_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0),
                coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
            FROM unnest(p_records) WITH ORDINALITY AS r
            CROSS JOIN LATERAL (
                SELECT 'day', r.day_at, '', concat_ws('|', coalesce(r.service_type, ''),
                    r.billing_method, r.billing_status, r.currency),
                    r.included_amount + r.charged_amount
                UNION ALL SELECT 'day', r.day_at, w.owner, '',
                    r.included_amount + r.charged_amount
                FROM (VALUES ('u:' || r.user_id), ('o:' || r.organization_id),
                    ('a:' || r.operation), ('m:' || r.model)) AS w(owner)
                WHERE w.owner IS NOT NULL
                UNION ALL SELECT 'hour', date_trunc('hour', r.occurred_at), '', '',
                    r.included_amount + r.charged_amount WHERE r.meter = ANY (p_hourly)
                UNION ALL SELECT 'day', r.day_at, 'p:' || r.product_id, '', r.charged_amount
                -- Not what the plan lets go beyond its allowance for nothing.
                WHERE r.product_id = ANY (p_tiered) AND r.currency = 'CREDIT'
                    AND (r.total_amount > 0 OR r.is_free_tier)
            ) AS g(grain, bucket, owner, facet, quantity)
            GROUP BY r.account_id, g.owner, g.grain, r.period_start, g.bucket, r.meter, g.facet
            ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
                quantity = c.quantity + excluded.quantity,
                events = c.events + excluded.events,
                maximum = greatest(c.maximum, excluded.maximum),
                last_value = CASE WHEN excluded.last_at >= c.last_at
                    THEN excluded.last_value ELSE c.last_value END,
                last_at = greatest(c.last_at, excluded.last_at),
                credits = c.credits + excluded.credits,
                overage = c.overage + excluded.overage,
                overage_total = c.overage_total + excluded.overage_total
            RETURNING c.account_id, c.owner, c.grain, c.period_start, c.meter,
                new.quantity - coalesce(old.quantity, 0) AS added
        ), grown AS (
            SELECT account_id, period_start, meter, sum(added) AS added
            FROM counted
            WHERE p_limited AND owner = '' AND grain = 'day'
            GROUP BY account_id, period_start, meter
        )
        SELECT n.*, l.included, b.was + n.added AS used, t.threshold
        FROM grown AS n
        CROSS JOIN LATERAL (
            SELECT (limits -> n.meter ->> 'included')::numeric FROM usage_periods
            WHERE account_id = n.account_id AND start_at = n.period_start LIMIT 1) AS l(included)
        CROSS JOIN LATERAL (
            -- As it was before this statement.
            SELECT coalesce(sum(quantity), 0) FROM usage_cycles
            WHERE l.included IS NOT NULL AND account_id = n.account_id AND owner = ''
                AND period_start = n.period_start AND meter = n.meter) AS b(was)
        CROSS JOIN LATERAL (VALUES (80), (100)) AS t(threshold)
        WHERE l.included * t.threshold > b.was * 100
            AND l.included * t.threshold <= (b.was + n.added) * 100
        ORDER BY n.account_id, n.meter, t.threshold
    LOOP
        PERFORM usage_alert(
            crossed.account_id, 'plan', crossed.meter, '', crossed.threshold, crossed.period_start,
            crossed.included, crossed.used,
            (SELECT max(created_at) FROM unnest(p_records) WHERE account_id = crossed.account_id));
    END LOOP;

    -- A level is one, however its readings were paid: all rows of its day know the last.
    UPDATE usage_counters AS c SET last_value = r.last_value, last_at = r.last_at
    FROM (
        SELECT account_id, period_start, day_at, meter,
            (array_agg(usage_amount ORDER BY occurred_at DESC, ordinality DESC))[1]
                AS last_value,
            max(occurred_at) AS last_at
        FROM unnest(p_records) WITH ORDINALITY
        WHERE meter = ANY (p_levels)
        GROUP BY account_id, period_start, day_at, meter) AS r
    WHERE c.account_id = r.account_id AND c.owner = '' AND c.grain = 'day'
        AND c.period_start = r.period_start AND c.bucket = r.day_at AND c.meter = r.meter
        AND c.last_at <= r.last_at;

    IF current_setting('app.publish_usage', true) = 'on' THEN
        PERFORM usage_publish(p_records);
    END IF;
END;
$$;

-- An existing record is settled or fails: its status, its event [F20], and its day's statistics.
CREATE OR REPLACE FUNCTION usage_settle(
    p_account_id uuid, p_id uuid, p_method text, p_status text, p_transaction_id uuid,
    p_detail jsonb, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    was billing_records;
BEGIN
    SELECT * INTO was FROM billing_records WHERE id = p_id FOR UPDATE;
    UPDATE billing_records
    SET billing_method = p_method, billing_status = p_status,
        transaction_id = coalesce(p_transaction_id, transaction_id), updated_at = p_at
    WHERE id = p_id;
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    VALUES (uuidv7(), p_account_id, p_id, was.billing_status, p_status, p_detail, p_at);
    INSERT INTO usage_counters AS c
    SELECT was.account_id, '', 'day', was.period_start, was.day_at, was.meter, f.facet,
        f.sign * (was.included_amount + was.charged_amount), f.sign, was.usage_amount,
        was.usage_amount, 'epoch',
        CASE WHEN was.currency = 'CREDIT' THEN f.sign * was.total_amount ELSE 0 END,
        CASE WHEN was.currency = 'CREDIT' THEN 0 ELSE f.sign * was.charged_amount END,
        CASE WHEN was.currency = 'CREDIT' THEN 0 ELSE f.sign * was.total_amount END
    FROM (VALUES
        (concat_ws('|', coalesce(was.service_type, ''), was.billing_method, was.billing_status,
            was.currency), -1),
        (concat_ws('|', coalesce(was.service_type, ''), p_method, p_status, was.currency), 1)
    ) AS f(facet, sign)
    GROUP BY f.facet, f.sign
    HAVING was.billing_method <> p_method OR was.billing_status <> p_status
    ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
        quantity = c.quantity + excluded.quantity, events = c.events + excluded.events,
        maximum = greatest(c.maximum, excluded.maximum),
        credits = c.credits + excluded.credits, overage = c.overage + excluded.overage,
        overage_total = c.overage_total + excluded.overage_total;
END;
$$;
