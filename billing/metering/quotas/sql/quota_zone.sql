-- The time zone of the days and months in an account's quota windows.
CREATE OR REPLACE FUNCTION quota_zone(p_account_id uuid) RETURNS text
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.zone FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id
$$;
