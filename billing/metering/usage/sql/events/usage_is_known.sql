-- Whether the event with this id was recorded, or claimed in another month.
CREATE OR REPLACE FUNCTION usage_is_known(p_id uuid) RETURNS boolean
LANGUAGE sql AS $$
    SELECT cardinality(usage_own_records(ARRAY[p_id]) || usage_repeats(ARRAY[p_id])
        || usage_claimed_ids(ARRAY[p_id])) > 0
$$;
