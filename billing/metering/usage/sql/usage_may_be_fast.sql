-- The part of the fast path's precondition (usage_record_fast) that is told by the accounts alone:
-- nobody has prices of its own, quotas or a blocking budget, and no use is to be an event.
CREATE OR REPLACE FUNCTION usage_may_be_fast(p_accounts usage_account[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT current_setting('app.publish_usage', true) IS DISTINCT FROM 'on'
        AND NOT EXISTS (
            SELECT FROM unnest(p_accounts)
            WHERE has_prices OR has_quotas OR budget_mode = 'block')
$$;
