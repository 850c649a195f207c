-- Records, the counters they go into, and what follows from these: thresholds of the plan and,
-- where an operator wants them (BILLING_PUBLISH_USAGE), events. Every row's account is locked.
CREATE OR REPLACE FUNCTION usage_write_records(p_records usage_rated[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    grown usage_growth[];
BEGIN
    PERFORM usage_insert_records(p_records);
    grown := ARRAY(
        SELECT g FROM usage_add_counters(
            ARRAY(SELECT s FROM usage_counter_sums(p_records) AS s)) AS g);
    IF EXISTS (SELECT FROM unnest(p_records) WHERE is_limited) THEN
        PERFORM usage_notify_limits(grown, p_records);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_records) WHERE usage_is_level((kind).counts)) THEN
        PERFORM usage_level_counters(p_records);
    END IF;
    IF current_setting('app.publish_usage', true) = 'on' THEN
        PERFORM usage_publish_records(p_records);
    END IF;
END;
$$;
