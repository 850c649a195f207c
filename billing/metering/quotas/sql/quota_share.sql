-- What a use, or a claim, counts on a quota: nothing unless meter and owner are the quota's.
CREATE OR REPLACE FUNCTION quota_share(
    p_quota billing_quotas, p_meter text, p_user_id text, p_organization_id text, p_amount numeric)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_meter = p_quota.meter
        AND p_quota.owner IN ('', 'u:' || p_user_id, 'o:' || p_organization_id)
        THEN p_amount ELSE 0 END
$$;
