-- Uses outside the time from the start of their account's open period (or the limit for late uses,
-- or the end of its earlier terms) to the account's current time.
CREATE OR REPLACE FUNCTION usage_outside_period(
    p_accounts usage_account[], p_uses usage_input[])
RETURNS TABLE (account_id uuid, used_at timestamptz, is_late boolean)
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    SELECT a.account_id, u.used_at, u.used_at < a.start_at
    FROM (
        SELECT o.place, o.account_id, o.start_at, o.as_of, (
            SELECT (p.limits_before -> -1 ->> 'until')::timestamptz FROM usage_periods AS p
            WHERE p.account_id = o.account_id AND p.start_at = o.start_at) AS changed_at
        FROM unnest(p_accounts) AS o OFFSET 0) AS a
    JOIN unnest(p_uses) AS u ON u.account = a.place
    WHERE u.used_at < greatest(a.start_at, a.changed_at, a.as_of - usage_late_limit())
        OR u.used_at > a.as_of
$$;
