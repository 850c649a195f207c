-- What limits, a plan's or agreed ones, give of each meter under a subscription's status, keyed by
-- meter. `capped`: in a trial, or while an invoice is overdue, overage goes on up to the unpaid
-- limit alone; `beyond`: units of a level that stay beyond the plan. `price` is that of one unit as
-- a text, or terms as an object (usage_price_of).
CREATE OR REPLACE FUNCTION usage_limits_of(
    p_limits jsonb, p_status text, p_past_due_access text, p_currency text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(one ->> 'meter', jsonb_strip_nulls(jsonb_build_object(
        'included', one ->> 'included',
        'beyond', one ->> 'beyond',
        'then', CASE
            WHEN one ->> 'then' <> 'overage' THEN one ->> 'then'
            WHEN p_status = 'past_due' AND p_past_due_access <> 'full' THEN 'block'
            WHEN one -> 'prices' -> p_currency IS NULL THEN 'block'
            ELSE 'overage' END,
        'price', coalesce(one -> 'prices' -> p_currency, '"0"'),
        'capped', CASE WHEN p_status IN ('trialing', 'past_due') THEN 'true' END))), '{}')
    FROM jsonb_array_elements(p_limits) AS limits(one)
    WHERE p_status IN ('trialing', 'active')
        OR (p_status = 'past_due' AND p_past_due_access <> 'none')
$$;
