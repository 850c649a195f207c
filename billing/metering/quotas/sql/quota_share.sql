-- The amount that a use or claim counts on a quota: 0 unless meter and owner match.
CREATE OR REPLACE FUNCTION quota_share(
    p_quota billing_quotas, p_meter text, p_user_id text, p_organization_id text, p_amount numeric)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_meter = p_quota.meter
        AND p_quota.owner IN ('', 'u:' || p_user_id, 'o:' || p_organization_id)
        THEN p_amount ELSE 0 END
$$;
