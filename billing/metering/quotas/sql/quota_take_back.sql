-- Remove users' copies of default quotas in windows of a kind. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_take_back(
    p_account_id uuid, p_meter text, p_window_kind text)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH gone AS (
        DELETE FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_meter AND is_derived
            AND window_kind = p_window_kind
        RETURNING id
    )
    DELETE FROM quota_slices AS s USING gone WHERE s.quota_id = gone.id
$$;
