-- What a plan gives, or was agreed in its stead, with the add-ons that a subscription has in the
-- cycle from `p_start`: their units go onto what is included of their meters. One that ends with
-- its period is there until then.
CREATE OR REPLACE FUNCTION usage_with_add_ons(
    p_subscription_id uuid, p_period_end timestamptz, p_limits jsonb, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN a.units IS NULL THEN l.lim
        ELSE jsonb_set(l.lim, '{included}',
            to_jsonb(trim_scale((l.lim ->> 'included')::numeric + a.units)::text)) END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    LEFT JOIN (
        SELECT meter, sum(units * CASE WHEN p_start < p_period_end THEN quantity
            ELSE coalesce(next_quantity, quantity) END) AS units
        FROM subscription_items
        WHERE subscription_id = p_subscription_id AND kind = 'add_on'
        GROUP BY meter) AS a ON a.meter = l.meter
$$;
