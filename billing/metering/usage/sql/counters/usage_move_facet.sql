-- Move records whose method or status changed from their days' counters under the old facet to
-- those under the new one. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_move_facet(
    p_account_id uuid, p_records uuid[], p_old_method text, p_old_status text)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    WITH sums AS (
        SELECT ROW(
            p_account_id, '', 'day', r.period_start, r.day_at, r.meter, f.facet,
            f.sign * sum(r.included_units + r.charged_units), f.sign * count(*),
            max(r.usage_amount),
            -- A counter that is new says what its uses were; one that is there knows its last.
            max(r.usage_amount), 'epoch',
            f.sign * coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
            f.sign * coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0),
            f.sign * coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
        )::usage_counter_sum AS sum
        FROM billing_records AS r CROSS JOIN LATERAL (VALUES
            (usage_facet(r.service_type, p_old_method, p_old_status, r.currency), -1),
            (usage_facet(r.service_type, r.billing_method, r.billing_status, r.currency), 1)
        ) AS f(facet, sign)
        WHERE r.id = ANY (p_records) AND r.month = ANY (usage_months_of(p_records))
            AND r.account_id = p_account_id
        GROUP BY r.period_start, r.day_at, r.meter, f.facet, f.sign
    )
    SELECT usage_add_counters(array_agg(sum)) FROM sums
$$;
