-- The months that may contain the record with this id: the id's, and the first one. With `month =
-- ANY (usage_record_months(id))` Postgres prunes all other partitions.
CREATE OR REPLACE FUNCTION usage_record_months(p_id uuid) RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[usage_month_of(p_id, false), usage_first_month()]
$$;
