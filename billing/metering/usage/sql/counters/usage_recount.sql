-- Counters that differ from the records, as the release before asks for them: it has them corrected
-- by the same call (`p_write`), under the account's lock.
CREATE OR REPLACE FUNCTION usage_recount(p_account_id uuid, p_since timestamptz, p_write boolean)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE plpgsql AS $$
DECLARE
    found jsonb := (
        SELECT jsonb_agg(d) FROM usage_differing_counters(p_account_id, p_since) AS d);
BEGIN
    IF p_write AND found IS NOT NULL THEN
        PERFORM usage_correct_counters(p_account_id, found, '-infinity', 'infinity');
    END IF;
    RETURN QUERY
    SELECT x.owner, x.grain, x.period_start, x.bucket, x.meter, x.facet, x.kept_quantity,
        x.true_quantity, x.kept_events, x.true_events
    FROM jsonb_to_recordset(found) AS x(
        owner text, grain text, period_start timestamptz, bucket timestamptz, meter text,
        facet text, kept_quantity numeric, true_quantity numeric, kept_events bigint,
        true_events bigint);
END;
$$;
