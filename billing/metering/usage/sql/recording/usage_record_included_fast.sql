-- Record uses that their plan's allowance certainly covers, as usage_limited_fast found: the
-- records, the counters, and the end of what was claimed for them beforehand.
CREATE OR REPLACE FUNCTION usage_record_included_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM usage_insert_included_fast(p_accounts, p_kinds, p_uses);
    PERFORM usage_count_fast(p_accounts, usage_included_kinds(p_kinds), p_uses);
    UPDATE quota_claims SET status = 'settled'
    WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)) AND status = 'open';
END;
$$;
