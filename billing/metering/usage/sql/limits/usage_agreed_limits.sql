-- As usage_limits_agreed_at, at the account's own time, or at `p_at` where that is ahead: who
-- waited for the account's lock may bring a time from before what was agreed meanwhile. Expects the
-- account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_agreed_limits(
    p_account_id uuid, p_limits jsonb, p_at timestamptz DEFAULT '-infinity')
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT usage_limits_agreed_at(p_account_id, p_limits, greatest(p_at, coalesce(
        (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp())))
$$;
