-- The prices that a cycle has had for use of a meter beyond the plan, with their ends by the
-- account's clock and in real time (usage_periods.limits_before). Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_overage_prices(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS TABLE (place bigint, until timestamptz, written timestamptz, price jsonb)
LANGUAGE sql STABLE AS $$
    SELECT t.place, t.until, t.written, t.lim -> 'price'
    FROM usage_periods AS p
    CROSS JOIN LATERAL (
        SELECT b.place, (b.one ->> 'until')::timestamptz AS until,
            (b.one ->> 'written')::timestamptz AS written, b.one -> 'limits' -> p_meter AS lim
        FROM jsonb_array_elements(p.limits_before) WITH ORDINALITY AS b(one, place)
        UNION ALL
        SELECT jsonb_array_length(p.limits_before) + 1, 'infinity', 'infinity',
            p.limits -> p_meter) AS t
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start
        AND t.lim ->> 'then' = 'overage'
$$;
