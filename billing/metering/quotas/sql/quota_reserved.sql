-- The amount of a meter claimed by events without a record, except the named records. They are
-- hashed once, whatever the plan: `<> ALL` of an array would compare each claim with each of them.
CREATE OR REPLACE FUNCTION quota_reserved(
    p_account_id uuid, p_meter text, p_at timestamptz, p_but uuid[])
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(amount), 0) FROM quota_claims
    WHERE account_id = p_account_id AND status = 'open' AND meter = p_meter
        AND expires_at > p_at AND id NOT IN (SELECT unnest(p_but))
$$;
