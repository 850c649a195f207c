-- The uses that the event of this id was claimed or recorded for, also in another month; none if it
-- is new. A claim that is over is told only beside a record.
CREATE OR REPLACE FUNCTION quota_known_uses(p_id uuid, p_real_at timestamptz)
RETURNS TABLE (
    is_recorded boolean, meter text, user_id text, organization_id text, amount numeric,
    at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    recorded CONSTANT uuid :=
        ((usage_own_records(ARRAY[p_id]) || usage_repeats(ARRAY[p_id]))[1]).id;
    claimed CONSTANT uuid := ((usage_claimed_ids(ARRAY[p_id]))[1]).id;
BEGIN
    RETURN QUERY
        SELECT false, c.meter, c.user_id, c.organization_id, c.amount, c.claimed_at
        FROM quota_claims AS c JOIN accounts AS a ON a.id = c.account_id
        WHERE c.id IN (p_id, claimed) AND (recorded IS NOT NULL OR c.status = 'settled'
            OR c.status = 'open' AND c.expires_at > coalesce(a.clock_at, p_real_at));
    IF recorded IS NOT NULL THEN
        RETURN QUERY
            SELECT true, r.meter, r.user_id, r.organization_id, r.usage_amount, r.created_at
            FROM billing_records AS r
            WHERE r.id = recorded AND r.month = ANY (usage_record_months(recorded));
    END IF;
END;
$$;
