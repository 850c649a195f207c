-- The units of each meter, as texts by meter, that the add-ons of a subscription give in the cycle
-- from `p_start`. One that ends with its period is there until then; one that came or went within
-- the cycle gives its part of it, and a short cycle has its part of each. The parts of an add-on
-- are rounded as one sum: of many that come one by one no half is rounded twice. Expects the
-- account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_add_on_units(
    p_subscription_id uuid, p_period_end timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(meter, trim_scale(units)::text), '{}')
    FROM (
        SELECT meter, sum(units) AS units
        FROM (
            SELECT meter, greatest(0, round(sum(units), max(decimals))) AS units
            FROM (
                SELECT add_on, meter, usage_units_share(
                        units * CASE WHEN p_start < p_period_end THEN quantity
                            ELSE coalesce(next_quantity, quantity) END,
                        usage_cycle_part(p_subscription_id, p_start)) AS units,
                    scale(trim_scale(units)) AS decimals
                FROM subscription_items
                WHERE subscription_id = p_subscription_id AND kind = 'add_on'
                UNION ALL
                SELECT part ->> 'add_on', part ->> 'meter', (part ->> 'units')::numeric,
                    coalesce((part ->> 'decimals')::integer,
                        scale(trim_scale((part ->> 'units')::numeric)))
                FROM usage_changes_in_cycle(p_subscription_id, p_start) AS c
                CROSS JOIN LATERAL jsonb_array_elements(c.terms -> 'portions') AS part
                WHERE part ->> 'add_on' IS NOT NULL) AS parts
            GROUP BY add_on, meter) AS each
        GROUP BY meter) AS sums
$$;
