-- The amount of a meter that claims in force hold, except those of the named records. These are
-- hashed once, whatever the plan: `<> ALL` of an array would compare each claim with each of them.
CREATE OR REPLACE FUNCTION quota_reserved(
    p_account_id uuid, p_meter text, p_at timestamptz, p_but uuid[])
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(amount), 0) FROM quota_claims_in_force(p_account_id, p_at)
    WHERE meter = p_meter AND id NOT IN (SELECT unnest(p_but))
$$;
