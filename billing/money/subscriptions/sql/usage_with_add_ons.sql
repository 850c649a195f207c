-- What a plan gives, or was agreed in its stead, with the add-ons that a subscription has in the
-- cycle from `p_start`: their units go onto what is included of their meters.
CREATE OR REPLACE FUNCTION usage_with_add_ons(
    p_subscription_id uuid, p_period_end timestamptz, p_limits jsonb, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN more.units ? l.meter
        THEN jsonb_set(l.lim, '{included}', to_jsonb(trim_scale(
            (l.lim ->> 'included')::numeric + (more.units ->> l.meter)::numeric)::text))
        ELSE l.lim END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    CROSS JOIN usage_add_on_units(p_subscription_id, p_period_end, p_start) AS more(units)
$$;
