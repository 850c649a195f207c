-- The reason to refuse a use for its amount, or null. Only a level may be 0.
CREATE OR REPLACE FUNCTION usage_amount_refusal(
    p_kind usage_metered, p_amount numeric, p_max_per_use numeric)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_amount > usage_max_per_use(p_max_per_use) THEN 'USAGE_TOO_LARGE'
        WHEN p_amount = 0 AND NOT usage_is_level(p_kind.counts) THEN 'VALIDATION_FAILED' END
$$;
