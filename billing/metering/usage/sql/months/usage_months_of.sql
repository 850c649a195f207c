-- The months that may contain the records with these ids (usage_record_months). A function
-- that asks for them plans anew each time: only so they are computed once and prune the partitions.
CREATE OR REPLACE FUNCTION usage_months_of(p_ids uuid[]) RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT m.month)
    FROM unnest(p_ids) AS i(id) CROSS JOIN LATERAL unnest(usage_record_months(i.id)) AS m(month)
$$;
