-- Whether payment of these credits may be deferred: the total unpaid stays within its limit.
CREATE OR REPLACE FUNCTION usage_may_defer(p_account_id uuid, p_amount numeric) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT u.unpaid + p_amount <= u.unpaid_limit
    FROM usage_unpaid(p_account_id, 'infinity', false) AS u
$$;
