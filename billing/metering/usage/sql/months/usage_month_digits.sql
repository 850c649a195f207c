-- The first digits of the ids that events have in a month; the same as billing.core.ids.of_event.
CREATE OR REPLACE FUNCTION usage_month_digits(p_month date) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lpad(to_hex((extract(epoch FROM p_month)::bigint * 1000 >> 16) + 1), 8, '0')
$$;
