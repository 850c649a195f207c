-- The months that may have the record with this id: that of the id, and the first one. Written as
-- `month = ANY (usage_record_months(id))`, it is put in its place by Postgres, which then reads no
-- other partition.
CREATE OR REPLACE FUNCTION usage_record_months(p_id uuid) RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[usage_month_of(p_id, false), usage_first_month()]
$$;
