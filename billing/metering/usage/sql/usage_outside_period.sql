-- Uses that did not happen between the start of their account's open period (or the limit of what
-- is too late) and its time.
CREATE OR REPLACE FUNCTION usage_outside_period(
    p_accounts usage_account[], p_uses usage_input[])
RETURNS TABLE (account_id uuid, used_at timestamptz, is_late boolean)
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    SELECT a.account_id, u.used_at, u.used_at < a.start_at
    FROM unnest(p_uses) AS u JOIN unnest(p_accounts) AS a ON a.place = u.account
    WHERE u.used_at < greatest(a.start_at, a.as_of - usage_late_limit()) OR u.used_at > a.as_of
$$;
