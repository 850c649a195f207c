-- Every counter that a use adds to: the single list that writing, the fast path (by its two parts)
-- and the recount share. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_counters_of(p_use usage_countable)
RETURNS TABLE (owner text, grain text, bucket timestamptz, facet text, units numeric)
LANGUAGE sql STABLE AS $$
    SELECT '', 'day', p_use.day_at, p_use.facet, p_use.units
    UNION ALL
    SELECT d.owner, d.grain, d.bucket, '', d.units FROM usage_detail_counters(p_use) AS d
$$;
