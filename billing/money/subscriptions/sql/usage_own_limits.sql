-- The limits of a plan, as the plan lists them, for a subscription's cycle from `p_start`: a plan
-- may say that each seat has what it includes, a short cycle includes its part, and a change within
-- the cycle counts from then on: the parts are rounded as one sum. From the period's end on there
-- are the seats that are scheduled for then. A level is held and not used up, so a part of it would
-- be too little; and a plan that costs nothing gives what it gives. Expects the account's rows to
-- be shown.
CREATE OR REPLACE FUNCTION usage_own_limits(
    p_limits jsonb, p_seats jsonb, p_subscription_id uuid, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_agg(CASE WHEN given.units = l.included THEN l.lim
        ELSE jsonb_set(l.lim, '{included}', to_jsonb(trim_scale(given.units)::text)) END
        ORDER BY l.place), '[]')
    FROM (
        SELECT s.amount_minor, usage_cycle_part(s.id, p_start) AS part,
            CASE WHEN p_seats ->> 'limits' = 'true' THEN coalesce(
                (c.terms ->> 'quantity')::integer, i.quantity, 1) ELSE 1 END AS seats
        FROM subscriptions AS s
        LEFT JOIN subscription_items AS i ON i.subscription_id = s.id AND i.kind = 'plan'
        LEFT JOIN subscription_changes AS c ON c.subscription_id = s.id AND c.kind = 'plan'
            AND c.status = 'scheduled' AND s.current_period_end <= p_start
        WHERE s.id = p_subscription_id OFFSET 0) AS s
    CROSS JOIN (
        SELECT lim, (lim ->> 'included')::numeric AS included, place
        FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS one(lim, place)) AS l
    LEFT JOIN (
        SELECT part ->> 'meter' AS meter, sum((part ->> 'units')::numeric) AS units
        FROM usage_changes_in_cycle(p_subscription_id, p_start) AS c
        CROSS JOIN LATERAL jsonb_array_elements(c.terms -> 'portions') AS part
        WHERE part ->> 'add_on' IS NULL
        GROUP BY 1) AS moved ON moved.meter = l.lim ->> 'meter'
    LEFT JOIN meters AS m ON m.key = l.lim ->> 'meter'
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.amount_minor = 0 OR usage_is_level(m.kind) THEN l.included * s.seats
            ELSE greatest(0, round(
                coalesce(moved.units, 0) + usage_units_share(l.included * s.seats, s.part),
                scale(trim_scale(l.included)))) END AS units
    ) AS given
$$;
