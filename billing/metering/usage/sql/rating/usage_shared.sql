-- Since when the periods of a month share what this one includes of a meter, and what the others of
-- them used of it.
CREATE OR REPLACE FUNCTION usage_shared(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS TABLE (since timestamptz, beside numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.carried_since, coalesce((
        SELECT quantity FROM usage_used_beside(p_account_id, p.carried_since, p_period_start)
        WHERE meter = p_meter), 0)
    FROM usage_periods AS p
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start
$$;
