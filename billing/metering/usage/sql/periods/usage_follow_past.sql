-- Update the open period after a use of an earlier one that counts in it, too, was written or taken
-- back: it includes what is left. Expects the account's lock and its rows to be shown.
CREATE OR REPLACE FUNCTION usage_follow_past(
    p_account_id uuid, p_used_at timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_open_period(p_account_id, p_at)
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id AND p.carried_since <= p_used_at AND p_used_at < p.start_at
$$;
