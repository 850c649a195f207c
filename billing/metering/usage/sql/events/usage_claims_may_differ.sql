-- Whether an event may have an open claim of another month. Claims last less than a day, so only on
-- the first day of a month, and while programs of the previous release may run.
CREATE OR REPLACE FUNCTION usage_claims_may_differ() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM usage_months
        WHERE ends_at > clock_timestamp() - interval '1 day'
                AND ends_at <= clock_timestamp() + interval '1 hour'
            OR month = usage_first_month() AND ends_at > clock_timestamp())
$$;
