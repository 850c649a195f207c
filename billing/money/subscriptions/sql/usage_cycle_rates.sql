-- The units of each meter that a subscription would include if all of its cycle were as it is now:
-- plan, seats, add-ons, and what was agreed. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_cycle_rates(p_subscription_id uuid)
RETURNS TABLE (meter text, units numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT each.meter, sum(each.units)
    FROM (
        SELECT s.id, s.account_id, usage_cycle_part(s.id, s.cycle_start) AS part, p.limits,
            CASE WHEN p.seats ->> 'limits' = 'true' THEN coalesce(i.quantity, 1) ELSE 1 END
                AS seats
        FROM subscriptions AS s
        JOIN plans AS p ON p.id = s.plan_id
        LEFT JOIN subscription_items AS i ON i.subscription_id = s.id AND i.kind = 'plan'
        WHERE s.id = p_subscription_id OFFSET 0) AS s
    CROSS JOIN LATERAL (
        SELECT l.lim ->> 'meter' AS meter, (l.lim ->> 'included')::numeric AS units
        FROM jsonb_array_elements(usage_agreed_limits(s.account_id, (
            SELECT coalesce(jsonb_agg(jsonb_set(own.lim, '{included}', to_jsonb(
                ((own.lim ->> 'included')::numeric * s.seats * s.part)::text))), '[]')
            FROM jsonb_array_elements(s.limits) AS own(lim)))) AS l(lim)
        UNION ALL
        SELECT a.meter, a.units * a.quantity * s.part
        FROM subscription_items AS a
        WHERE a.subscription_id = s.id AND a.kind = 'add_on') AS each
    GROUP BY each.meter
$$;
