-- The account's default quotas that these owners should have but were not given yet
-- (quota_give_users). A user's own quota of the same meter and kind of window replaces the default.
CREATE OR REPLACE FUNCTION quota_not_given(p_account_id uuid, p_meter text, p_owners text[])
RETURNS SETOF billing_quotas
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT jsonb_populate_record(d, jsonb_build_object(
        'owner', u.owner, 'is_derived', true, 'window_start', '-infinity', 'used', 0))
    FROM billing_quotas AS d CROSS JOIN unnest(p_owners) AS u(owner)
    WHERE d.account_id = p_account_id AND NOT d.is_derived AND d.owner = 'u*'
        AND (p_meter IS NULL OR d.meter = p_meter) AND starts_with(u.owner, 'u:')
        AND NOT EXISTS (
            SELECT FROM billing_quotas AS own
            WHERE own.account_id = p_account_id AND own.meter = d.meter
                AND own.owner = u.owner AND own.window_kind = d.window_kind)
$$;
