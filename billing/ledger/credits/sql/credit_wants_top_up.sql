-- Whether the account, as it stands at p_at, wants credits bought for it: it asked for that, has
-- less than its threshold, nothing is undecided, and no pause after a failure or a cap runs.
CREATE OR REPLACE FUNCTION credit_wants_top_up(p_account credit_balances, p_at timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_account.top_up_below > p_account.balance - p_account.held, false)
        AND NOT p_account.top_up_open
        AND coalesce(p_account.top_up_from <= p_at, true)
$$;
