-- The id of the record that voids a use: one per use, in its month, so the table's key prevents a
-- second one. A check of the table calls this, so its result must never change.
CREATE OR REPLACE FUNCTION usage_void_id(p_id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (left(p_id::text, 13) || '-7' || left(md5(p_id::text), 3) || '-8'
        || right(md5(p_id::text), 15))::uuid
$$;
