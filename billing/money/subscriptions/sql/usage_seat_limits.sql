-- The limits of a plan, as the plan lists them, for all seats of a subscription: a plan may say
-- that each seat has what it includes. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_seat_limits(
    p_limits jsonb, p_seats jsonb, p_subscription_id uuid)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN p_seats ->> 'limits' = 'true' THEN (
        SELECT coalesce(jsonb_agg(jsonb_set(l.lim, '{included}', to_jsonb(
            trim_scale((l.lim ->> 'included')::numeric * i.quantity)::text)) ORDER BY l.place),
            '[]')
        FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS l(lim, place)
        CROSS JOIN subscription_items AS i
        WHERE i.subscription_id = p_subscription_id AND i.kind = 'plan')
        ELSE p_limits END
$$;
