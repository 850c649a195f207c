-- The percents of a plan's allowance that are notified when use reaches them.
CREATE OR REPLACE FUNCTION usage_alert_percents() RETURNS SETOF integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    VALUES (80), (100)
$$;
